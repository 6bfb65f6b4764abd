// Reads assigned partitions with franz-go and prints every record in one plain form.
//
//	flights-reader BOOTSTRAP TOPIC/PARTITION/END ...
//
// Each partition is read from offset 0 to END (exclusive). The form: a line "topic partition offset
// key-length value-length" (-1 for null), the bytes of key and value, a line feed.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

func length(data []byte) int {
	if data == nil {
		return -1
	}
	return len(data)
}

func number(text string) int64 {
	parsed, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	return parsed
}

func main() {
	var missing int64
	assigned := map[string]map[int32]kgo.Offset{}
	for _, argument := range os.Args[2:] {
		parts := strings.Split(argument, "/")
		if assigned[parts[0]] == nil {
			assigned[parts[0]] = map[int32]kgo.Offset{}
		}
		assigned[parts[0]][int32(number(parts[1]))] = kgo.NewOffset().At(0)
		missing += number(parts[2])
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(os.Args[1], ",")...), kgo.ConsumePartitions(assigned))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	for missing > 0 {
		fetches := client.PollFetches(context.Background())
		if errors := fetches.Errors(); len(errors) > 0 {
			log.Fatal(errors)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Fprintf(out, "%s %d %d %d %d\n", record.Topic, record.Partition, record.Offset,
				length(record.Key), length(record.Value))
			out.Write(record.Key)
			out.Write(record.Value)
			out.WriteByte('\n')
			missing--
		})
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}
