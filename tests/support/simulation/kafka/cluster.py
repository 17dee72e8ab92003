"""What clients connect to: the simulated broker, its groups, and the network between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.simulation.kafka.broker import Broker
from tests.support.simulation.kafka.clients import Admin, Producer
from tests.support.simulation.kafka.consumer import Consumer
from tests.support.simulation.kafka.group import Group
from tests.support.simulation.network import Network


class Cluster:
    """What clients connect to: the broker, its groups, and the network between."""

    def __init__(self, network: Network, broker: Broker, groups: Mapping[str, Group]) -> None:
        self.network = network
        self.broker = broker
        self.groups = dict(groups)

    def consumer(self, *topics: str, **options: Any) -> Consumer:
        """Stand in for aiokafka's consumer."""
        return Consumer(self, options)

    def producer(self, **options: Any) -> Producer:
        """Stand in for aiokafka's producer."""
        return Producer(self, options.get("transactional_id"))

    def admin(self, **_options: Any) -> Admin:
        """Stand in for aiokafka's admin client."""
        return Admin(self)
