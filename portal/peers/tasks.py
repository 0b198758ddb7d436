"""Work with peers; all of it in the identity zone, for what peers say names patients."""

from portal.core.tasks import identity_task, short_task, transfer_task
from portal.peers import actions, fetching, routing
from portal.peers.messages import actions as message_actions


@transfer_task
def echo_peer(peer_pk: str) -> None:
    """Ask a peer whether it is there."""
    actions.run_echo(int(peer_pk))


@transfer_task
def run_query(query_pk: str) -> None:
    """Search at a peer."""
    fetching.run_query(query_pk)


@transfer_task
def run_fetch(fetch_pk: str) -> None:
    """Fetch one study."""
    fetching.run_fetch(fetch_pk)


@transfer_task
def run_standing(standing_pk: str) -> None:
    """Run one standing query."""
    fetching.run_standing(int(standing_pk))


@transfer_task
def fetch_priors(study_pk: str) -> None:
    """Fetch earlier studies of a new study's patient."""
    fetching.fetch_priors(int(study_pk))


@transfer_task
def deliver_commitment(commitment_pk: str) -> None:
    """Tell a peer what is kept, or ask one."""
    actions.deliver_commitment(commitment_pk)


@short_task
def route_study(study_pk: str) -> None:
    """Queue a complete study for the peers that routing rules name."""
    routing.route_study(int(study_pk))


@transfer_task
def send_delivery(delivery_pk: str) -> None:
    """Send a study to a peer."""
    routing.send_delivery(delivery_pk)


@short_task
def run_due() -> None:
    """Queue standing queries, fetches and commitments whose time has come (beat)."""
    actions.queue_due()
    routing.queue_due()


@identity_task
def forget_answers() -> None:
    """Delete what peers answered a day ago, and what is known of old messages (beat, hourly)."""
    fetching.forget_answers()
    message_actions.forget_taken()
