// Produces three records and reads them back, with franz-go.
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
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const topic = "examples-go"

func main() {
	bootstrap := "127.0.0.1:9092"
	if len(os.Args) > 1 {
		bootstrap = os.Args[1]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	read(ctx, bootstrap, produce(ctx, bootstrap))
}

// produce sends three records with one key, so in one partition, and returns the first as
// acknowledged. Idempotent and acks=all are franz-go's defaults.
func produce(ctx context.Context, bootstrap string) *kgo.Record {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.AllowAutoTopicCreation())
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
	return records[0]
}

// read prints three records, from the first on. The partition is assigned: no group is joined.
func read(ctx context.Context, bootstrap string, first *kgo.Record) {
	from := map[string]map[int32]kgo.Offset{
		topic: {first.Partition: kgo.NewOffset().At(first.Offset)},
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumePartitions(from))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
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
}
