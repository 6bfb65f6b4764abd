// A member of a group with franz-go, in either protocol.
//
// The argument, the orders on standard input and the events on standard output are those of
// tests/interop/members/member.py.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type config struct {
	Bootstrap, Topic, Group, Name, Protocol string
	Instance                                *string
	SessionMs                               int `json:"session_ms"`
	HeartbeatMs                             int `json:"heartbeat_ms"`
	PollMsMax                               int `json:"poll_ms_max"`
	TurnRows                                int `json:"turn_rows"`
	TurnMs                                  int `json:"turn_ms"`
	CommitMs                                int `json:"commit_ms"`
}

type event map[string]any

func say(kind string, fields event) {
	fields["event"], fields["at_us"] = kind, time.Now().UnixMicro()
	line, err := json.Marshal(fields)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line)) // One write, unbuffered.
}

func milliseconds(count int) time.Duration { return time.Duration(count) * time.Millisecond }

type member struct {
	config
	client  *kgo.Client
	orders  chan string
	done    map[int32]int64
	commits int
	next    time.Time
	stops   bool
}

func (m *member) readOrders() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		m.orders <- strings.TrimSpace(lines.Text())
	}
	m.orders <- "stop"
}

// rest pauses until the next turn, obeying orders; while we stall, until told to go on.
func (m *member) rest() {
	timer, stalls := time.After(milliseconds(m.TurnMs)), false
	for !m.stops {
		if stalls {
			timer = nil
		}
		select {
		case <-timer:
			return
		case order := <-m.orders:
			switch order {
			case "stop":
				m.stops = true
			case "stall":
				stalls = true
				say("paused", event{})
			default:
				say("resumed", event{})
				return
			}
		}
	}
}

func (m *member) numbers(partitions map[string][]int32) []int32 {
	numbers := append([]int32{}, partitions[m.Topic]...)
	sort.Slice(numbers, func(i, j int) bool { return numbers[i] < numbers[j] })
	return numbers
}

func (m *member) process(fetches kgo.Fetches) {
	fetches.EachPartition(func(partition kgo.FetchTopicPartition) {
		records := partition.Records
		for len(records) > 0 {
			first, count, crc := records[0].Offset, 0, uint32(0)
			for count < len(records) && records[count].Offset == first+int64(count) {
				crc = crc32.Update(crc, crc32.IEEETable, records[count].Value)
				count++
			}
			last := first + int64(count) - 1
			say("rows", event{
				"partition": partition.Partition, "first": first, "last": last, "crc": crc,
			})
			m.done[partition.Partition] = last + 1
			records = records[count:]
		}
	})
}

// commit commits what is processed of these partitions (nil: of all) and not yet committed.
func (m *member) commit(ctx context.Context, chosen []int32) {
	offsets, pairs := map[int32]kgo.EpochOffset{}, [][2]int64{}
	take := func(partition int32) {
		if offset, is := m.done[partition]; is {
			offsets[partition] = kgo.EpochOffset{Epoch: -1, Offset: offset}
			pairs = append(pairs, [2]int64{int64(partition), offset})
		}
	}
	if chosen == nil {
		for partition := range m.done {
			take(partition)
		}
	}
	for _, partition := range chosen {
		take(partition)
	}
	if len(offsets) == 0 {
		return
	}
	m.commits++
	m.next = time.Now().Add(milliseconds(m.CommitMs))
	say("committing", event{"number": m.commits, "offsets": pairs})
	var failure error
	ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	m.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{m.Topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, said *kmsg.OffsetCommitResponse, err error) {
			failure = err
			if err != nil {
				return
			}
			for _, topic := range said.Topics {
				for _, partition := range topic.Partitions {
					if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
						failure = err
					}
				}
			}
		})
	if failure != nil {
		say("refused", event{"number": m.commits, "error": failure.Error()})
		return
	}
	say("committed", event{"number": m.commits})
	for partition := range offsets {
		delete(m.done, partition)
	}
}

func (m *member) drop(kind string, partitions []int32) {
	for _, partition := range partitions {
		delete(m.done, partition)
	}
	say(kind, event{"partitions": partitions})
}

func (m *member) options() []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(m.Bootstrap, ",")...),
		kgo.ConsumerGroup(m.Group),
		kgo.ClientID(m.Name),
		kgo.ConsumeTopics(m.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.RebalanceTimeout(milliseconds(m.PollMsMax)),
		kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, given map[string][]int32) {
			say("assigned", event{"partitions": m.numbers(given)})
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
			m.commit(ctx, m.numbers(gone))
			m.drop("revoked", m.numbers(gone))
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
			m.drop("lost", m.numbers(gone))
		}),
		kgo.SessionTimeout(milliseconds(m.SessionMs)),
		kgo.HeartbeatInterval(milliseconds(m.HeartbeatMs)),
	}
	if m.Instance != nil {
		options = append(options, kgo.InstanceID(*m.Instance))
	}
	switch m.Protocol {
	case "range":
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	case "cooperative-sticky":
		options = append(options, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	case "consumer":
		options = append(options, kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer())
	default:
		log.Fatal(m.Protocol)
	}
	return options
}

func main() {
	m := &member{orders: make(chan string), done: map[int32]int64{}}
	if err := json.Unmarshal([]byte(os.Args[1]), &m.config); err != nil {
		log.Fatal(err)
	}
	go m.readOrders()
	client, err := kgo.NewClient(m.options()...)
	if err != nil {
		log.Fatal(err)
	}
	m.client = client
	for !m.stops {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		fetches := client.PollRecords(ctx, m.TurnRows)
		cancel()
		fetches.EachError(func(_ string, _ int32, err error) {
			if errors.Is(err, kerr.FencedInstanceID) || errors.Is(err, kerr.UnreleasedInstanceID) {
				say("failed", event{"error": err.Error()})
				os.Exit(0)
			}
		})
		m.process(fetches)
		if time.Now().After(m.next) {
			m.commit(context.Background(), nil)
		}
		client.AllowRebalance()
		m.rest()
	}
	client.CloseAllowingRebalance()
	say("ended", event{})
}
