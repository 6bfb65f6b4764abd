// Produces three records and reads them back as a member of a group, with franz-go.
//
// Start a node (`make up`, or `mesh node`), then, in this directory:
//
//	go run . [HOST:PORT]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	topic = "examples-go"
	group = "examples-go"
)

func main() {
	bootstrap := "127.0.0.1:9092"
	if len(os.Args) > 1 {
		bootstrap = os.Args[1]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	produce(ctx, bootstrap)
	read(ctx, bootstrap)
}

// produce sends three records with one key, so to one partition, and waits until they are safe.
// Idempotent and acks=all are franz-go's defaults.
func produce(ctx context.Context, bootstrap string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.AllowAutoTopicCreation())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	var records []*kgo.Record
	for _, text := range []string{"one", "two", "three"} {
		record := kgo.KeyStringRecord("greeting", text)
		record.Topic = topic
		records = append(records, record)
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		log.Fatal(err)
	}
}

// read prints the next three records of the group; where it got to is committed afterwards. A group
// that never committed begins with the first record, by franz-go's default.
func read(ctx context.Context, bootstrap string) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.DisableAutoCommit(),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close() // leaves the group, so that others need not wait for us
	for missing := 3; missing > 0; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			log.Fatal(err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Printf("%s = %s\n", record.Key, record.Value)
			missing--
		})
	}
	if err := client.CommitUncommittedOffsets(ctx); err != nil {
		log.Fatal(err)
	}
}
