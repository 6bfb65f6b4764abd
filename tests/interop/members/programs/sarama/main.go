// A member of a group with sarama.
//
// The argument, the orders on standard input and the events on standard output are those of
// tests/interop/members/member.py. Whether a commit was accepted sarama does not tell its user, so
// we never say so; the story's observer sees what is committed.
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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
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

// member is the handler of a session: sarama runs one ConsumeClaim per partition at a time.
type member struct {
	config
	lock    sync.Mutex
	done    map[int32]int64
	commits int
	stalls  chan struct{} // nil, or closed when the stall is over
}

// obey takes orders until told to stop, then cancels.
func (m *member) obey(cancel func()) {
	defer cancel()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch strings.TrimSpace(lines.Text()) {
		case "stop":
			return
		case "stall":
			m.lock.Lock()
			m.stalls = make(chan struct{})
			say("paused", event{})
			m.lock.Unlock()
		default:
			m.lock.Lock()
			if m.stalls != nil {
				close(m.stalls)
				m.stalls = nil
			}
			say("resumed", event{})
			m.lock.Unlock()
		}
	}
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.done = map[int32]int64{}
	say("assigned", event{"partitions": sorted(session.Claims()[m.Topic])})
	return nil
}

func (m *member) Cleanup(session sarama.ConsumerGroupSession) error {
	m.commit(session)
	m.lock.Lock()
	defer m.lock.Unlock()
	say("revoked", event{"partitions": sorted(session.Claims()[m.Topic])})
	return nil
}

func sorted(numbers []int32) []int32 {
	copied := append([]int32{}, numbers...)
	slices.Sort(copied)
	return copied
}

func (m *member) commit(session sarama.ConsumerGroupSession) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if len(m.done) == 0 {
		return
	}
	m.commits++
	pairs := [][2]int64{}
	for partition, offset := range m.done {
		pairs = append(pairs, [2]int64{int64(partition), offset})
		session.MarkOffset(m.Topic, partition, offset, "")
	}
	say("committing", event{"number": m.commits, "offsets": pairs})
	session.Commit()
	m.done = map[int32]int64{}
}

func (m *member) process(messages []*sarama.ConsumerMessage) {
	m.lock.Lock()
	defer m.lock.Unlock()
	crc := uint32(0)
	for _, message := range messages {
		crc = crc32.Update(crc, crc32.IEEETable, message.Value)
	}
	first, last := messages[0], messages[len(messages)-1]
	say("rows", event{
		"partition": first.Partition, "first": first.Offset, "last": last.Offset, "crc": crc,
	})
	m.done[first.Partition] = last.Offset + 1
}

func (m *member) stalled() chan struct{} {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.stalls
}

func (m *member) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for {
		batch := []*sarama.ConsumerMessage{}
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			batch = append(batch, message)
		case <-session.Context().Done():
			return nil
		}
		// Whatever lies there already belongs to the same turn, while offsets go on.
		for more := true; more && len(batch) < m.TurnRows; {
			select {
			case message, open := <-claim.Messages():
				if more = open; open {
					batch = append(batch, message)
				}
			default:
				more = false
			}
		}
		m.process(batch)
		if gate := m.stalled(); gate != nil {
			<-gate
		}
		select {
		case <-time.After(milliseconds(m.TurnMs)):
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *member) settings() *sarama.Config {
	settings := sarama.NewConfig()
	settings.ClientID = m.Name
	settings.Version = sarama.V2_8_0_0
	settings.Consumer.Offsets.Initial = sarama.OffsetOldest
	settings.Consumer.Offsets.AutoCommit.Enable = false
	settings.Consumer.MaxWaitTime = 100 * time.Millisecond
	settings.Consumer.Group.Session.Timeout = milliseconds(m.SessionMs)
	settings.Consumer.Group.Heartbeat.Interval = milliseconds(m.HeartbeatMs)
	settings.Consumer.Group.Rebalance.Timeout = milliseconds(m.PollMsMax)
	settings.Metadata.Retry.Backoff = 100 * time.Millisecond
	settings.Metadata.Retry.Max = 50
	if m.Instance != nil {
		settings.Consumer.Group.InstanceId = *m.Instance
	}
	strategies := map[string]sarama.BalanceStrategy{
		"range":      sarama.NewBalanceStrategyRange(),
		"roundrobin": sarama.NewBalanceStrategyRoundRobin(),
		"sticky":     sarama.NewBalanceStrategySticky(),
	}
	chosen := []sarama.BalanceStrategy{strategies[m.Protocol]}
	settings.Consumer.Group.Rebalance.GroupStrategies = chosen
	return settings
}

// commits runs beside the claims of all sessions.
func (m *member) commitEvery(ctx context.Context, session sarama.ConsumerGroupSession) {
	for {
		select {
		case <-time.After(milliseconds(m.CommitMs)):
			if m.stalled() == nil {
				m.commit(session)
			}
		case <-ctx.Done():
			return
		}
	}
}

func main() {
	m := &member{}
	if err := json.Unmarshal([]byte(os.Args[1]), &m.config); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go m.obey(cancel)
	group, err := sarama.NewConsumerGroup(strings.Split(m.Bootstrap, ","), m.Group, m.settings())
	if err != nil {
		say("failed", event{"error": err.Error()})
		return
	}
	for ctx.Err() == nil {
		err := group.Consume(ctx, []string{m.Topic}, &session{member: m})
		if errors.Is(err, sarama.ErrFencedInstancedId) {
			say("failed", event{"error": err.Error()})
			return
		}
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(100 * time.Millisecond) // The broker is away: sarama leaves this to us.
		}
	}
	if err := group.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	say("ended", event{})
}

// session is a member with one goroutine that commits for as long as a session lasts.
type session struct {
	*member
	stop     context.CancelFunc
	finished chan struct{}
}

func (s *session) Setup(of sarama.ConsumerGroupSession) error {
	ctx, stop := context.WithCancel(of.Context())
	s.stop, s.finished = stop, make(chan struct{})
	if err := s.member.Setup(of); err != nil {
		return err
	}
	go func() {
		defer close(s.finished)
		s.commitEvery(ctx, of)
	}()
	return nil
}

func (s *session) Cleanup(of sarama.ConsumerGroupSession) error {
	s.stop()
	<-s.finished
	return s.member.Cleanup(of)
}
