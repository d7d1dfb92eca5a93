"""The file of tools/replay: lines, records of CSV, their values, and which of them are sales.

Whatever a line holds, it is a record or is reported; only a header that is missing ends the run.
"""
import collections
import csv
import datetime
import fractions
import gzip
import lzma
import os
import re
import sys

COLUMNS = ('InvoiceNo', 'StockCode', 'Description', 'Quantity', 'InvoiceDate', 'UnitPrice', 'CustomerID', 'Country')
MAX_LINE = 65536          # bytes of a record
MAX_RECORD_LINES = 100    # lines of a record with line ends between quotes
MAX_TEXT = {'InvoiceNo': 50, 'StockCode': 64, 'Description': 200, 'CustomerID': 64, 'Country': 64}
MAX_QUANTITY = 10 ** 9
MAX_PRICE = 10 ** 12
CONTROL = re.compile('[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]')


class Failure(Exception):
    """What ends the run; its text is for the user."""


class BadLine(Exception):
    """Why a line cannot be read."""


class Lines:
    """The lines of a file, as text with invalid bytes as surrogates; None for one that is too long."""

    def __init__(self, stream):
        self.stream = stream
        self.number = 0
        self.back = collections.deque()

    def next(self):
        if self.back:
            self.number += 1
            return self.back.popleft()
        raw = self.stream.readline(MAX_LINE + 1)
        if not raw:
            return ''
        self.number += 1
        if len(raw) > MAX_LINE:
            while raw and not raw.endswith(b'\n'):
                raw = self.stream.readline(MAX_LINE)
            return None
        try:
            return raw.decode('utf-8')
        except UnicodeDecodeError:
            return raw.decode('utf-8', 'surrogateescape')


class Record:
    """Feeds one record to csv, line by line, and knows when to give up hope that its quote will be closed."""

    def __init__(self, lines):
        self.lines = lines
        self.taken = []
        self.first = ''

    def __iter__(self):
        return self

    def __next__(self):
        if not self.taken:
            text = self.first
        elif len(self.taken) == MAX_RECORD_LINES:
            raise BadLine('a quote is not closed')
        else:
            text = self.lines.next()
        if not text:
            raise BadLine('a quote is not closed')
        self.taken.append(text)
        if sum(map(len, self.taken)) > MAX_LINE:
            raise BadLine('a quote is not closed')
        return text


def records(lines):
    """Yields (number of its first line, fields, reason): fields, or the reason why there are none."""
    record = Record(lines)
    reader = csv.reader(record, strict=True)
    while True:
        text = lines.next()
        number = lines.number
        if text is None:
            yield number, None, f'longer than {MAX_LINE} bytes'
            continue
        if not text:
            return
        if '"' not in text:
            fields = text.rstrip('\r\n').split(',')
        else:
            record.taken, record.first = [], text
            try:
                fields = next(reader)
                text = ''.join(record.taken)
            except (csv.Error, BadLine) as problem:
                # Only the first line is given up; those after it may be records.
                lines.back.extendleft(reversed(record.taken[1:]))
                lines.number = number
                yield number, None, str(problem) if len(record.taken) == 1 else 'a quote is not closed'
                continue
        if not text.isascii() and not is_unicode(text):
            yield number, None, 'invalid UTF-8'
        elif CONTROL.search(text):
            yield number, None, 'a NUL byte' if '\0' in text else 'a control character'
        elif fields != ['']:
            yield number, fields, None


def is_unicode(text):
    try:
        text.encode('utf-8')
        return True
    except UnicodeEncodeError:
        return False


class Memo(dict):
    """Remembers what a function made of a text: values repeat."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def __missing__(self, text):
        if len(self) > 100000:
            self.clear()
        value = self[text] = self.function(text)
        return value


def read_text(name, is_needed):
    def read(text):
        text = ' '.join(text.split()) if name in ('Description', 'Country') else text.strip()
        if len(text) > MAX_TEXT[name]:
            raise BadLine(f'{name} is longer than {MAX_TEXT[name]} characters')
        if not text and is_needed:
            raise BadLine(f'{name} is empty')
        if any(character in text for character in '\t\r\n'):
            raise BadLine(f'{name} has several lines')
        return text
    return read


def read_customer(text):
    """A number may have come through a program that takes it for a decimal."""
    return re.sub(r'^([0-9]+)\.0$', r'\1', read_text('CustomerID', False)(text))


def read_quantity(text):
    if not re.fullmatch(r'\s*[-+]?[0-9]{1,30}(\.0*)?\s*', text, re.ASCII):
        raise BadLine('Quantity is not an integer')
    quantity = int(text.split('.')[0])
    if abs(quantity) > MAX_QUANTITY:
        raise BadLine(f'Quantity is beyond {MAX_QUANTITY}')
    return quantity


def read_price(exponent):
    """(minor units, rounded half up; whether it is above zero; whether below)"""
    def read(text):
        if not re.fullmatch(r'\s*[-+]?[0-9]{1,30}(\.[0-9]{0,30})?\s*', text, re.ASCII):
            raise BadLine('UnitPrice is not a number')
        price = fractions.Fraction(text.strip().rstrip('.')) * 10 ** exponent
        if abs(price) > MAX_PRICE:
            raise BadLine(f'UnitPrice is beyond {MAX_PRICE} minor units')
        return int(price + fractions.Fraction(1, 2)) if price > 0 else 0, price > 0, price < 0
    return read


def read_time(text):
    if re.fullmatch(r'\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[-+][0-9]{2}:?[0-9]{2})?\s*', text, re.ASCII):
        try:
            moment = datetime.datetime.fromisoformat(text.strip())
            if moment.tzinfo:
                moment = moment.astimezone(datetime.timezone.utc)
            if 1970 <= moment.year <= 2200:
                return moment.strftime('%Y-%m-%d %H:%M:%S.%f')
        except (ValueError, OverflowError):
            pass
    raise BadLine('InvoiceDate is not a time as in 2010-12-01 08:26:00')


def judge(invoice, quantity, price):
    """What a line is: sale, cancellation, or why it is neither."""
    pence, is_above, is_below = price
    digits = invoice[1:] if invoice[0] in 'CA' else invoice
    if not (digits.isascii() and digits.isdigit()):
        return 'the invoice number is none of a sale'
    if invoice[0] == 'A':
        return 'an adjustment, not a sale'
    if is_below or not is_above:
        return 'the price is negative' if is_below else 'the price is zero'
    if pence == 0:
        return 'the price rounds to nothing'
    if invoice[0] == 'C':
        return 'cancellation' if quantity < 0 else 'a cancellation without a negative quantity'
    return 'sale' if quantity > 0 else 'the quantity is zero' if quantity == 0 else 'the quantity is negative'


def parse(lines, exponent, rest):
    """Yields (number, kind, invoice, code, title, quantity, time, minor units, customer, country) of sales and
    cancellations; the others go to the rest."""
    header = next(records(lines), None)
    if header is None or header[1] is None:
        raise Failure('the file has no header' + (f': {header[2]}' if header else ''))
    names = [name.strip().removeprefix('\ufeff') for name in header[1]]
    for name in COLUMNS:
        if names.count(name) != 1:
            raise Failure(f'the header has {"no column" if name not in names else "several columns"} {name}')
    places = [names.index(name) for name in COLUMNS]
    read = [Memo(function) for function in (
        read_text('InvoiceNo', True), read_text('StockCode', True), read_text('Description', False), read_quantity,
        read_time, read_price(exponent), read_customer, read_text('Country', False))]
    for number, fields, reason in records(lines):
        rest.lines += 1
        if fields is None:
            rest.add(number, '', reason)
            continue
        if len(fields) != len(names):
            rest.add(number, fields[0], f'{len(fields)} fields instead of {len(names)}')
            continue
        try:
            invoice, code, title, quantity, moment, price, customer, country = [
                memo[fields[place]] for memo, place in zip(read, places)]
        except BadLine as problem:
            rest.add(number, fields[places[0]], str(problem))
            continue
        kind = judge(invoice, quantity, price)
        if kind in ('sale', 'cancellation'):
            yield number, kind, invoice, code, title, abs(quantity), moment, price[0], customer, country
        else:
            rest.add(number, f'{invoice} {code}', kind)


def open_file(name):
    """The stream of bytes, and a function that says which share of the file has been read."""
    raw = sys.stdin.buffer if name == '-' else open(name, 'rb')
    stream = lzma.open(raw) if name.endswith('.xz') else gzip.open(raw) if name.endswith('.gz') else raw
    size = os.fstat(raw.fileno()).st_size
    return stream, lambda: raw.tell() / size if size and raw.seekable() else None


class Rest:
    """What is not replayed, and why."""

    def __init__(self):
        self.lines = 0
        self.entries = []

    def add(self, number, what, reason):
        what = ''.join(c if c.isprintable() else '?' for c in what[:80])
        self.entries.append((number, f'{what.strip()}: {reason}' if what.strip() else reason))

    def print(self):
        for number, text in sorted(self.entries):
            print(f'line {number}: {text}')
