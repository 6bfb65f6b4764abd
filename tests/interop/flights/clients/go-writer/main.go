// Writes rows from standard input with franz-go, idempotent and acks=all, and prints what came of
// each.
//
//	flights-writer BOOTSTRAP TOPIC CODEC
//
// The forms of input and output are those of tests/interop/flights/write_confluent.py.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func take(in io.Reader, length int) []byte {
	if length < 0 {
		return nil
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(in, data); err != nil {
		log.Fatal(err)
	}
	return data
}

func main() {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Args[1], ",")...),
		kgo.DefaultProduceTopic(os.Args[2]),
		kgo.ProducerBatchCompression(codecs[os.Args[3]]),
		kgo.ProducerBatchMaxBytes(16_384),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(5000),
		kgo.RecordDeliveryTimeout(120*time.Second),
		// By default it asks for metadata a few milliseconds after a leader is gone, too early
		// to hear of the next one, and then for 5 s no more.
		kgo.MetadataMinAge(250*time.Millisecond),
		// A gap in the numbers is an error, not a reason to begin anew in silence.
		kgo.StopProducerOnDataLossDetected(),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	in := bufio.NewReaderSize(os.Stdin, 1<<16)
	var speaks sync.Mutex
	for {
		var index, keyLength, valueLength int
		line, err := in.ReadString('\n')
		if err == io.EOF {
			break
		}
		if _, err := fmt.Sscanf(line, "%d %d %d", &index, &keyLength, &valueLength); err != nil {
			log.Fatal(err)
		}
		record := &kgo.Record{Key: take(in, keyLength), Value: take(in, valueLength)}
		take(in, 1)
		client.Produce(context.Background(), record, func(record *kgo.Record, err error) {
			speaks.Lock()
			defer speaks.Unlock()
			if err != nil {
				fmt.Printf("%d error %q\n", index, err.Error())
				return
			}
			fmt.Printf("%d %d %d\n", index, record.Partition, record.Offset)
		})
	}
	if err := client.Flush(context.Background()); err != nil {
		log.Fatal(err)
	}
}
