"""What the tests of mail share: certificates, a real mail server, mails as they arrive, and mails to be sent."""
import email
import email.header
import email.policy
import email.utils
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from api import psql, register, within
from worker import RUNAS

EXIM = shutil.which("exim4", path=os.environ["PATH"] + ":/usr/sbin")
PASSWORD = "correct-horse"
USER, GROUP = (int(subprocess.check_output([*RUNAS, "id", flag])) for flag in ("-u", "-g"))


def home():
    """A new directory that the worker's user may use."""
    path = tempfile.mkdtemp(prefix="post.", dir=os.path.dirname(os.environ["HF_WORKER_CONF"]))
    give(path)
    return path


def give(path, mode=None):
    """Gives a file to the worker's user."""
    if mode is not None:
        os.chmod(path, mode)
    if RUNAS:
        os.chown(path, USER, GROUP)
    return path


def write(path, text, mode=0o640):
    with open(path, "w") as file:
        file.write(text)
    return give(path, mode)


def openssl(*words, **more):
    return subprocess.run(["openssl", *words], check=True, capture_output=True, text=True, **more)


def authority(where):
    """A certificate authority: ca.pem, ca.key."""
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Test CA", "-keyout", f"{where}/ca.key", "-out", f"{where}/ca.pem")
    return give(f"{where}/ca.pem", 0o644)


def certificate(where, name, host="localhost", days=2):
    """A certificate by that authority, for a host, good for so many days, or not any more: its file and its key's."""
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}", "-keyout", f"{where}/{name}.key", "-out", f"{where}/{name}.csr")
    extensions = write(f"{where}/{name}.ext", f"subjectAltName=DNS:{host}\n")
    openssl("x509", "-req", "-in", f"{where}/{name}.csr", "-CA", f"{where}/ca.pem", "-CAkey", f"{where}/ca.key", "-CAcreateserial", "-days", str(days),
            "-extfile", extensions, "-out", f"{where}/{name}.pem")
    return give(f"{where}/{name}.pem"), give(f"{where}/{name}.key", 0o600)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Exim:
    """Debian's mail server, as the worker's user: STARTTLS with a certificate, or none, or TLS from the first byte; AUTH for "shop" once there is TLS,
    by both mechanisms or by LOGIN alone. All mail goes into one maildir."""

    def __init__(self, files=None, login=True, smtps=False, plain=True):
        self.home, self.port = home(), free_port()
        tls = f"tls_certificate = {files[0]}\ntls_privatekey = {files[1]}\ntls_advertise_hosts = *\n" if files else "tls_advertise_hosts =\n"
        if smtps:
            tls += f"tls_on_connect_ports = {self.port}\n"
        first = """plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{shop}}{eq{$auth3}{%s}}}}
  server_set_id = $auth2
""" % PASSWORD if plain else ""
        conf = f"""spool_directory = {self.home}/spool
pid_file_path = {self.home}/pid
admin_groups = {GROUP}
exim_user = {USER}
exim_group = {GROUP}
log_file_path = {self.home}/%s.log
keep_environment =
primary_hostname = mail.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.port}
deliver_drop_privilege
smtp_accept_queue_per_connection = 0
host_lookup =
rfc1413_query_timeout = 0s
{tls}auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
begin acl
rcpt:
{"  deny message = login first" + chr(10) + "       !authenticated = *" if login else ""}
  deny message = no such user here
       local_parts = nobody
  accept
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  maildir_format
  directory = {self.home}/box
  create_directory
begin authenticators
{first}login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{{{eq{{$auth1}}{{shop}}}}{{eq{{$auth2}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth1
"""
        self.conf = write(f"{self.home}/exim.conf", conf)
        with open(f"{self.home}/out", "w") as out:
            self.process = subprocess.Popen([*RUNAS, EXIM, "-bdf", "-C", self.conf], stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, start_new_session=True)
        if not within(60, lambda: listens(self.port)):
            raise RuntimeError("Exim does not start: " + open(f"{self.home}/out").read() + self.log())

    def log(self, name="main"):
        try:
            return open(f"{self.home}/{name}.log").read()
        except FileNotFoundError:
            return ""

    def mails(self):
        return [read(path) for path in sorted(glob.glob(f"{self.home}/box/new/*"))]

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def read(path):
    with open(path, "rb") as file:
        return parse(file.read())


def parse(data):
    mail = email.message_from_bytes(data, policy=email.policy.default)
    mail.raw = data
    return mail


def recipient(mail):
    """Name and address, decoded by the rules of RFC 2047 (Python's newer parser puts blanks between encoded words)."""
    raw = email.message_from_bytes(mail.raw)["To"]
    name, address = email.utils.parseaddr(raw)
    return str(email.header.make_header(email.header.decode_header(name))), address


def text(mail, kind="plain"):
    return mail.get_body((kind,)).get_content()


def faults(mail):
    """What is wrong with a mail, whatever it says, as it goes over the wire."""
    found = [str(defect) for part in mail.walk() for defect in part.defects]
    found += [f"{name}: {defect}" for name, value in mail.items() for defect in getattr(value, "defects", ())]
    head = mail.raw.partition(b"\n\n")[0] if b"\r\n" not in mail.raw else mail.raw.partition(b"\r\n\r\n")[0]
    found += ["not ASCII"] * any(byte > 126 for byte in mail.raw)
    found += [f"a line of {len(line)}" for line in mail.raw.splitlines() if len(line) > 998]
    found += [f"a header line of {len(line)}" for line in head.splitlines() if len(line) > 78 and b"=?" in line]
    for name in ("Date", "From", "To", "Subject", "Message-ID", "MIME-Version", "Auto-Submitted", "Content-Language"):
        if len(mail.get_all(name, [])) != 1:
            found.append(f"{len(mail.get_all(name, []))} times {name}")
    if [part.get_content_type() for part in mail.walk()] != ["multipart/alternative", "text/plain", "text/html"]:
        found.append("parts")
    if {part.get_content_charset() for part in mail.walk()} != {None, "utf-8"}:
        found.append("charset")
    return found


def account(name, address=None, locale="en"):
    """An account of that name, made in the database."""
    made = f"{re.sub('[^a-z]', '', name.lower())[:20] or 'x'}-{os.urandom(5).hex()}@example.org" if address is None else address
    quoted, at = name.replace("'", "''"), made.replace("'", "''")
    return psql(f"INSERT INTO shop.account (email, name, locale) VALUES (E'{at}', E'{quoted}', '{locale}') RETURNING id"), made


def order(buyer, merchant, title="Walnut headphones", quantity=2, price=123456, currency="EUR"):
    """An order that waits for its money, of one line, made in the database; its id."""
    title = title.replace("'", "''")
    return psql(f"""WITH o AS (INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, pay_by, lines, status, currency)
            VALUES ({buyer}, holdfast.uuid7(), {merchant}, {quantity} * {price}, now(), now(), now() + interval '1 hour', now() + interval '1 hour', 1, 'pending_payment',
                    '{currency}') RETURNING id)
        INSERT INTO shop.order_line (account_id, order_id, sku_id, stock_id, product_id, quantity, unit_price, amount, line, code, title)
        SELECT {buyer}, o.id, 1, 1, 1, {quantity}, {price}, {quantity} * {price}, 1, 'WH-1', E'{title}' FROM o RETURNING order_id""")


def enqueue(kind, **payload):
    """Puts an event into the queue."""
    fields = ", ".join(f"'{name}', '{value}'" for name, value in payload.items())
    return psql(f"SELECT shop.enqueue('{kind}', jsonb_build_object({fields}))")


def fresh():
    """Forgets what other tests have left in the queue: it would be sent."""
    psql("DELETE FROM shop.job; DELETE FROM shop.job_key; DELETE FROM shop.job_dead")


def left():
    """Jobs of mails that are not finished, as kind, attempts, error."""
    return psql("SELECT kind, attempts, error FROM shop.job WHERE kind <> 'webhook' AND kind <> 'image_uploaded'")


def dead(template=None):
    """Why mails are dead, by their keys."""
    rows = psql("SELECT coalesce(json_object_agg(key, error), '{}') FROM shop.job_dead WHERE kind = 'mail'")
    return json.loads(rows)
