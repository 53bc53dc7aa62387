"""Overdraft: an account that several people draw on, and that is never overdrawn.

The invariant is the table's own CHECK. What breaks it is rejected with the constraint's name, so that needs no code and
cannot be forgotten in a second materializer. Money is in cents: integers add up alike on every device.
"""

from driftlog import App, Event, ViewTransaction, reject

app = App(
    "org.driftlog.example.overdraft",
    tables="""
    CREATE TABLE account (
      id TEXT PRIMARY KEY,
      cents INTEGER NOT NULL DEFAULT 0 CONSTRAINT "an account is not overdrawn" CHECK (cents >= 0)
    ) STRICT;

    CREATE TABLE payment (
      id TEXT PRIMARY KEY,
      account TEXT NOT NULL REFERENCES account (id),
      cents INTEGER NOT NULL CONSTRAINT "a payment is of some cents" CHECK (cents > 0)
    ) STRICT;
    """,
)


class AccountOpened(Event, name="account.opened"):
    """There is an account, with nothing in it."""

    id: str


class MoneyPaidIn(Event, name="money.paid_in"):
    """Somebody has put money into the account."""

    account: str
    cents: int


class PaymentMade(Event, name="payment.made"):
    """Somebody has paid from the account."""

    id: str
    account: str
    cents: int


class PaymentCancelled(Event, name="payment.cancelled"):
    """A payment was taken back; its money is in the account again."""

    id: str


@app.on(AccountOpened)
def account_opened(tx: ViewTransaction, event: AccountOpened) -> None:
    """Open the account."""
    tx.execute("INSERT INTO account (id) VALUES (?)", (event.id,))


@app.on(MoneyPaidIn)
def money_paid_in(tx: ViewTransaction, event: MoneyPaidIn) -> None:
    """Add the money."""
    _check_account(tx, event.account)
    if event.cents <= 0:
        reject(f"{event.cents} cents were not paid in; what is paid is a payment")
    tx.execute("UPDATE account SET cents = cents + ? WHERE id = ?", (event.cents, event.account))


@app.on(PaymentMade)
def payment_made(tx: ViewTransaction, event: PaymentMade) -> None:
    """Take the money, if it is there: the CHECK of the account says so."""
    tx.execute("INSERT INTO payment VALUES (?, ?, ?)", (event.id, event.account, event.cents))
    tx.execute("UPDATE account SET cents = cents - ? WHERE id = ?", (event.cents, event.account))


@app.on(PaymentCancelled)
def payment_cancelled(tx: ViewTransaction, event: PaymentCancelled) -> None:
    """Put the money back. A payment that was rejected in its place moved none."""
    payment = tx.one("SELECT account, cents FROM payment WHERE id = ?", (event.id,))
    if payment is None:
        reject(f"payment {event.id} does not stand")
    tx.execute("DELETE FROM payment WHERE id = ?", (event.id,))
    tx.execute("UPDATE account SET cents = cents + ? WHERE id = ?", (payment.cents, payment.account))


def _check_account(tx: ViewTransaction, account: str) -> None:
    if tx.one("SELECT 1 FROM account WHERE id = ?", (account,)) is None:
        reject(f"there is no account {account}")
