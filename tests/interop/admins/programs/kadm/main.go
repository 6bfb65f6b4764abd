// Administers a broker with franz-go's kadm and prints what came of it as one JSON object.
//
//	kadm-admin BOOTSTRAP TOPIC FILLED
//
// TOPIC is made, changed and deleted, FILLED holds records. What each step means is said in
// tests/interop/admins/steps.py.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type steps map[string]any

var ctx = context.Background()

// code returns Kafka's number of an error, 0 for none; what is no answer of a broker ends us.
func code(err error) int16 {
	if err == nil {
		return 0
	}
	if strings.Contains(err.Error(), "broker is too old") {
		return kerr.UnsupportedVersion.Code // It looks into ApiVersions and does not even ask.
	}
	var kafka *kerr.Error
	if !errors.As(err, &kafka) {
		log.Fatal(err)
	}
	return kafka.Code
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func text(value string) *string { return &value }

func configs(admin *kadm.Client, topic string) map[string][]any {
	found := map[string][]any{}
	described := must(must(admin.DescribeTopicConfigs(ctx, topic)).On(topic, nil))
	for _, config := range described.Configs {
		switch config.Key {
		case "cleanup.policy", "retention.ms", "segment.ms":
			own := config.Source.String() == "DYNAMIC_TOPIC_CONFIG"
			found[config.Key] = []any{config.MaybeValue(), own}
		}
	}
	return found
}

func alter(admin *kadm.Client, topic string, changes ...kadm.AlterConfig) int16 {
	answers := must(admin.AlterTopicConfigs(ctx, changes, topic))
	return code(must(answers.On(topic, nil)).Err)
}

func topics(said steps, admin *kadm.Client, topic string) {
	wanted := map[string]*string{"cleanup.policy": text("compact"), "retention.ms": text("5000000")}
	_, err := admin.CreateTopic(ctx, 2, 1, wanted, topic)
	said["create"] = code(err)
	_, err = admin.CreateTopic(ctx, 2, 1, wanted, topic)
	said["create_again"] = code(err)
	said["describe_configs"] = configs(admin, topic)
	said["alter"] = alter(admin, topic,
		kadm.AlterConfig{Op: kadm.SetConfig, Name: "segment.ms", Value: text("9000")},
		kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.ms"})
	said["alter_after"] = configs(admin, topic)
	said["alter_wrong"] = alter(admin, topic,
		kadm.AlterConfig{Op: kadm.SetConfig, Name: "segment.ms", Value: text("soon")})
	replaced := must(admin.AlterTopicConfigsState(ctx,
		[]kadm.AlterConfig{{Name: "retention.ms", Value: text("6000000")}}, topic))
	said["replace"] = code(must(replaced.On(topic, nil)).Err)
	said["replace_after"] = configs(admin, topic)
	widened := must(admin.UpdatePartitions(ctx, 3, topic))
	said["widen"] = code(must(widened.On(topic, nil)).Err)
	said["partitions"] = len(must(admin.ListTopics(ctx, topic))[topic].Partitions)
}

func offsets(admin *kadm.Client, topic string) []int64 {
	first, _ := must(admin.ListStartOffsets(ctx, topic)).Lookup(topic, 0)
	end, _ := must(admin.ListEndOffsets(ctx, topic)).Lookup(topic, 0)
	return []int64{first.Offset, end.Offset}
}

func deleteRecords(admin *kadm.Client, topic string, offset int64) int16 {
	wanted := kadm.Offsets{}
	wanted.AddOffset(topic, 0, offset, -1)
	answers, err := admin.DeleteRecords(ctx, wanted)
	if err != nil {
		return code(err)
	}
	answer, _ := answers.Lookup(topic, 0)
	return code(answer.Err)
}

func records(said steps, admin *kadm.Client, filled string) {
	set := kadm.TopicsSet{}
	set.Add(filled, 0)
	said["offsets"] = offsets(admin, filled)
	producers := [][]any{}
	for _, one := range must(admin.DescribeProducers(ctx, set)).SortedProducers() {
		producers = append(producers, []any{one.ProducerEpoch, one.LastSequence})
	}
	said["producers"] = producers
	var size int64
	must(admin.DescribeAllLogDirs(ctx, set)).Each(func(directory kadm.DescribedLogDir) {
		size += directory.Size()
	})
	said["log_dirs"] = size > 0
	said["delete_records"] = deleteRecords(admin, filled, 3)
	said["delete_records_beyond"] = deleteRecords(admin, filled, 9)
	said["offsets_after"] = offsets(admin, filled)
}

func reassign(admin *kadm.Client, topic string, nodes []int32) int16 {
	wanted := kadm.AlterPartitionAssignmentsReq{}
	if nodes == nil {
		wanted.CancelAssign(topic, 0)
	} else {
		wanted.Assign(topic, 0, nodes)
	}
	answer := must(admin.AlterPartitionAssignments(ctx, wanted))[topic][0]
	return code(answer.Err)
}

func cluster(said steps, admin *kadm.Client, topic string) {
	metadata := must(admin.BrokerMetadata(ctx))
	said["nodes"] = metadata.Brokers.NodeIDs()
	said["controller"] = metadata.Controller
	said["reassign"] = reassign(admin, topic, []int32{1})
	said["reassign_unknown"] = reassign(admin, topic, []int32{99})
	said["reassign_cancel"] = reassign(admin, topic, nil)
	said["reassignments"] = len(must(admin.ListPartitionReassignments(ctx, nil)))
	first := kadm.TopicsSet{}
	first.Add(topic, 0)
	elected := must(admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, first))
	said["elect"] = code(elected[topic][0].Err)
	listed := false
	for _, found := range must(admin.ListConfigResources(ctx, kmsg.ConfigResourceTypeTopic)).Resources {
		listed = listed || found.Name == topic
	}
	said["resources"] = listed
	deleted := must(admin.DeleteTopics(ctx, topic))
	said["delete"] = code(deleted[topic].Err)
	said["gone"] = !must(admin.ListTopics(ctx)).Has(topic)
}

func main() {
	client := must(kgo.NewClient(kgo.SeedBrokers(strings.Split(os.Args[1], ",")...)))
	defer client.Close()
	admin, said := kadm.NewClient(client), steps{}
	topics(said, admin, os.Args[2])
	records(said, admin, os.Args[3])
	cluster(said, admin, os.Args[2])
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		log.Fatal(err)
	}
}
