// Administers a broker with sarama's ClusterAdmin and prints what came of it as one JSON object.
//
//	sarama-admin BOOTSTRAP TOPIC FILLED
//
// TOPIC is made, changed and deleted, FILLED holds records. What each step means is said in
// tests/interop/admins/steps.py.
package main

import (
	"encoding/json"
	"errors"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

type steps map[string]any

// code returns Kafka's number of an error, 0 for none; what is no answer of a broker ends us.
func code(err error) int16 {
	if err == nil {
		return 0
	}
	var kafka sarama.KError
	if !errors.As(err, &kafka) {
		log.Fatal(err)
	}
	return int16(kafka)
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func text(value string) *string { return &value }

func configs(admin sarama.ClusterAdmin, topic string) map[string][]any {
	found := map[string][]any{}
	resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: topic}
	for _, config := range must(admin.DescribeConfig(resource)) {
		switch config.Name {
		case "cleanup.policy", "retention.ms", "segment.ms":
			found[config.Name] = []any{config.Value, config.Source == sarama.SourceTopic}
		}
	}
	return found
}

func alter(admin sarama.ClusterAdmin, topic, value string) int16 {
	changes := map[string]sarama.IncrementalAlterConfigsEntry{
		"segment.ms":   {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: text(value)},
		"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationDelete},
	}
	return code(admin.IncrementalAlterConfig(sarama.TopicResource, topic, changes, false))
}

func topics(said steps, admin sarama.ClusterAdmin, topic string) {
	wanted := &sarama.TopicDetail{
		NumPartitions:     2,
		ReplicationFactor: 1,
		ConfigEntries: map[string]*string{
			"cleanup.policy": text("compact"), "retention.ms": text("5000000"),
		},
	}
	said["create"] = code(admin.CreateTopic(topic, wanted, false))
	said["create_again"] = code(admin.CreateTopic(topic, wanted, false))
	said["describe_configs"] = configs(admin, topic)
	said["alter"] = alter(admin, topic, "9000")
	said["alter_after"] = configs(admin, topic)
	said["alter_wrong"] = alter(admin, topic, "soon")
	whole := map[string]*string{"retention.ms": text("6000000")}
	said["replace"] = code(admin.AlterConfig(sarama.TopicResource, topic, whole, false))
	said["replace_after"] = configs(admin, topic)
	said["widen"] = code(admin.CreatePartitions(topic, 3, nil, false))
	said["widen_back"] = code(admin.CreatePartitions(topic, 1, nil, false))
	said["partitions"] = len(must(admin.DescribeTopics([]string{topic}))[0].Partitions)
}

func offset(admin sarama.ClusterAdmin, topic string, at int64) int64 {
	wanted := map[string]map[int32]int64{topic: {0: at}}
	return must(admin.ListOffsets(wanted, nil))[topic][0].Offset
}

func offsets(admin sarama.ClusterAdmin, topic string) []int64 {
	return []int64{
		offset(admin, topic, sarama.OffsetOldest), offset(admin, topic, sarama.OffsetNewest),
	}
}

func records(said steps, admin sarama.ClusterAdmin, filled string) {
	said["offsets"] = offsets(admin, filled)
	var size int64
	brokers, _, err := admin.DescribeCluster()
	if err != nil {
		log.Fatal(err)
	}
	ids := []int32{}
	for _, broker := range brokers {
		ids = append(ids, broker.ID())
	}
	for _, directories := range must(admin.DescribeLogDirs(ids)) {
		for _, directory := range directories {
			for _, topic := range directory.Topics {
				if topic.Topic == filled {
					size += topic.Partitions[0].Size
				}
			}
		}
	}
	said["log_dirs"] = size > 0
	said["delete_records"] = code(admin.DeleteRecords(filled, map[int32]int64{0: 3}))
	said["delete_records_beyond"] = code(admin.DeleteRecords(filled, map[int32]int64{0: 9}))
	said["offsets_after"] = offsets(admin, filled)
}

func cluster(said steps, admin sarama.ClusterAdmin, topic string) {
	brokers, controller, err := admin.DescribeCluster()
	nodes := []int32{}
	for _, broker := range must(brokers, err) {
		nodes = append(nodes, broker.ID())
	}
	said["nodes"], said["controller"] = nodes, controller
	said["reassign"] = code(admin.AlterPartitionReassignments(topic, [][]int32{{1}, {1}, {1}}))
	unknown := [][]int32{{99}, {1}, {1}}
	said["reassign_unknown"] = code(admin.AlterPartitionReassignments(topic, unknown))
	moving := must(admin.ListPartitionReassignments(topic, []int32{0, 1, 2}))
	said["reassignments"] = len(moving)
	first := map[string][]int32{topic: {0}}
	elected := must(admin.ElectLeaders(sarama.PreferredElection, first))
	said["elect"] = int16(elected[topic][0].ErrorCode)
	said["delete"] = code(admin.DeleteTopic(topic))
	_, found := must(admin.ListTopics())[topic]
	said["gone"] = !found
}

func main() {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	admin := must(sarama.NewClusterAdmin(strings.Split(os.Args[1], ","), config))
	defer admin.Close()
	said := steps{}
	topics(said, admin, os.Args[2])
	records(said, admin, os.Args[3])
	cluster(said, admin, os.Args[2])
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		log.Fatal(err)
	}
}
