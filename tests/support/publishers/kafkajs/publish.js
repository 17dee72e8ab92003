// Publishes a record for each key on standard input, with the setting that docs/publishing.md names.
const { Kafka, Partitioners, logLevel } = require('kafkajs')
const { text } = require('node:stream/consumers')

async function main ([address, topic]) {
  const keys = (await text(process.stdin)).split('\n').filter(Boolean)
  const kafka = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING })
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner })
  await producer.connect()
  await producer.send({ topic, messages: keys.map(key => ({ key, value: '{}' })) })
  await producer.disconnect()
}

main(process.argv.slice(2)).catch(error => { console.error(error); process.exit(1) })
