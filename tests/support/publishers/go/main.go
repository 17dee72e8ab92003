// Publishes a record for each key on standard input, with the setting that docs/publishing.md names.
package main

import (
	"bufio"
	"context"
	"log"
	"os"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

func keys() (found []string) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		found = append(found, lines.Text())
	}
	return found
}

func withSarama(address, topic string) error {
	config := sarama.NewConfig()
	config.Producer.Partitioner = sarama.NewMurmur2Partitioner
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer([]string{address}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for _, key := range keys() {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: topic, Key: sarama.StringEncoder(key), Value: sarama.StringEncoder("{}"),
		})
	}
	return producer.SendMessages(messages)
}

func withFranz(address, topic string) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(address),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for _, key := range keys() {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte("{}")})
	}
	return client.ProduceSync(context.Background(), records...).FirstErr()
}

func main() {
	publish := map[string]func(string, string) error{"sarama": withSarama, "franz-go": withFranz}[os.Args[1]]
	if err := publish(os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}
