"""Pages of the senders of HL7 messages, for PACS administrators."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core.errors import Refused
from portal.peers import queries
from portal.peers.messages import actions
from portal.peers.messages.forms import SenderForm
from portal.peers.models import MessageSender


@login_required
def senders(request: HttpRequest) -> HttpResponse:
    """Every sender, how it is known, and what its last message was answered."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    context = {
        "rows": queries.senders(request.user).filter(organisation=organisation),
        "port": settings.HL7_PORT,
        "tls_port": settings.HL7_TLS_PORT,
    }
    return render(request, "peers/senders.html", context)


@login_required
def sender_edit(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """Enter or change a sender."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    rows = queries.senders(request.user).filter(organisation=organisation)
    row = get_object_or_404(rows, pk=pk) if pk else None
    form = SenderForm(request.POST or None, instance=row, organisation=organisation)
    if request.method == "POST" and form.is_valid():
        try:
            actions.save_sender(request.user, form.save(commit=False), form.cleaned_data["privacy"])
            messages.success(request, "The sender was saved.")
            return redirect("message_senders")
        except Refused as error:
            form.add_error(None, error.message)
    shown = MessageSender.objects.get(pk=pk) if pk else None
    return render(request, "peers/sender_edit.html", {"form": form, "sender": shown})
