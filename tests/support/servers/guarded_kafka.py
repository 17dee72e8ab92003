"""A Kafka that asks who one is and looks up what one may do."""

from __future__ import annotations

from typing import Any, Final

from aiokafka.protocol.admin import CreateAclsRequest

from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka, processes

USER, PASSWORD = "clerk", "clerks-password"
TOPIC, GROUP, TRANSACTIONAL_ID = 2, 3, 5
READ, WRITE, DESCRIBE_CONFIGS = 3, 4, 10
DENY, ALLOW = 2, 3
LITERAL, PREFIXED = 3, 4

_MORE: Final = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{user}="{password}";
"""


class GuardedKafka(LocalKafka):
    """Without a password one may do everything on its own port; with one, on `sasl_port`, what is allowed."""

    def __init__(self, *where: Any, **more: Any) -> None:
        super().__init__(*where, **more)
        self.more_ports = 2

    def prepare(self, ports: list[int]) -> None:
        """Add a listener that asks for a password."""
        super().prepare(ports)
        place = f",SASL://{processes.LOOPBACK}:{ports[2]}"
        lines = [
            line + {"listeners": place, "advertised.listeners": place}.get(line.split("=")[0], "")
            for line in self._properties.read_text().splitlines()
        ]
        text = "\n".join(lines).replace("BROKER:PLAINTEXT", "SASL:SASL_PLAINTEXT,BROKER:PLAINTEXT")
        self._properties.write_text(text + _MORE.format(user=USER, password=PASSWORD))

    @property
    def sasl_port(self) -> int:
        """The port that asks for a password."""
        state = self.state
        assert state is not None
        return state.ports[2]

    def as_clerk(self, settings: Settings) -> Settings:
        """The settings of one who signs in."""
        return Settings.model_validate(
            settings.model_dump()
            | {
                "bootstrap_servers": f"{processes.LOOPBACK}:{self.sasl_port}",
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_username": USER,
                "sasl_password": PASSWORD,
            }
        )


async def rule(settings: Settings, *of: Any) -> None:
    """Add one: resource type, name, pattern, operation, allow or deny. The settings are a superuser's."""
    resource, name, pattern, operation, permission = of
    request = CreateAclsRequest(resource, name, pattern, f"User:{USER}", "*", operation, permission)
    async with clients.admin(settings) as client:
        answer = await client._send_to_controller(request)
    assert [code for code, _ in answer.creation_responses] == [0]
