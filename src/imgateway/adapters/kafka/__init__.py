"""Records written to and read from Apache Kafka, with aiokafka."""

from imgateway.adapters.kafka.access import KafkaAccess
from imgateway.adapters.kafka.consumer import KafkaConsumer
from imgateway.adapters.kafka.probing import probe
from imgateway.adapters.kafka.publisher import KafkaPublisher
from imgateway.adapters.kafka.topics import UNDELIVERED_MAX_MESSAGE_BYTES, TopicPlan, ensure_topics

__all__ = [
    "UNDELIVERED_MAX_MESSAGE_BYTES",
    "KafkaAccess",
    "KafkaConsumer",
    "KafkaPublisher",
    "TopicPlan",
    "ensure_topics",
    "probe",
]
