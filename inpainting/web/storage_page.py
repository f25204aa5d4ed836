"""The storage page: usage, retention, and deletion of everything."""

from __future__ import annotations

from allauth.account.decorators import reauthentication_required
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import SignedInRequest
from inpainting.accounting.limits import stored_bytes
from inpainting.generations import history
from inpainting.generations.delete import delete_all_of_user
from inpainting.models import Retention


class RetentionForm(forms.ModelForm):
    class Meta:
        model = Retention
        fields = ("days",)


@require_http_methods(["GET", "POST"])
@login_required
def storage(request: SignedInRequest) -> HttpResponse:
    chosen = Retention.objects.filter(user=request.user).first() or Retention(user=request.user)
    form = RetentionForm(request.POST if request.method == "POST" else None, instance=chosen)
    if form.is_valid():
        form.save()
        messages.success(request, gettext("The retention of your generations was saved."))
        return redirect("storage")
    context = {
        "form": form,
        "longest": Retention.maximum(),
        "count": history.count_of(request.user),
        "stored_bytes": stored_bytes(request.user),
    }
    return render(request, "storage.html", context)


@require_POST
@login_required
@reauthentication_required
def delete_everything(request: SignedInRequest) -> HttpResponse:
    """Delete all generations. Password or second factor were asked for in the last five minutes; allauth calls this
    again once they are entered."""
    count = delete_all_of_user(request.user)
    messages.success(
        request,
        ngettext(
            "{count} generation deleted, with all images.", "{count} generations deleted, with all images.", count
        ).format(count=count),
    )
    return redirect("storage")
