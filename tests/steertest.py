# SPDX-License-Identifier: MIT
"""A program's code, run plainly and under policies: it says the same, and counters are exact."""
import subprocess

from berthtest import Observed, equal, policy, program

SET = "41000-41099"

PRELUDE = """
import array, socket as sockets, threading, time
libc = ctypes.CDLL(None, use_errno=True)
RANGE, NO_PORT = 51, 24  # IP_LOCAL_PORT_RANGE, IP_BIND_ADDRESS_NO_PORT
def outcome(result):
    return errno.errorcode[ctypes.get_errno()] if result < 0 else 'ok'
def in4(port, address='127.0.0.1'):
    return struct.pack('=H', AF_INET) + struct.pack('!H4s8x', port, inet_aton(address))
def in6(port, address='::1', scope=0):
    name = struct.pack('!HI16s', port, 0, inet_pton(AF_INET6, address))
    return struct.pack('=H', AF_INET6) + name + struct.pack('=I', scope)
def bind(s, address, size=None):
    return outcome(libc.bind(s.fileno(), address, len(address) if size is None else size))
def connect(s, address, size=None):
    return outcome(libc.connect(s.fileno(), address, len(address) if size is None else size))
def settle(s):
    'Waits until a connect that goes on has ended.'
    p = select.poll()
    p.register(s, select.POLLOUT)
    p.poll()
def port_of(s):
    return s.getsockname()[1]
CALLS = {'x86_64': dict(setsockopt=54, getsockopt=55, bind=49, rt_sigprocmask=14, socket=41),
         'aarch64': dict(setsockopt=208, getsockopt=209, bind=200, rt_sigprocmask=135, socket=198)}
def forbid(call, error, *words, first=()):
    '''From here on the call, where its arguments 1, 2, ... are `words`, and its argument 0 is the one
    of `first`, fails with this error.'''
    number = CALLS[os.uname().machine][call]
    load, equal, end = 0x20, 0x15, 0x06
    tests = [(0, number), *((16, word) for word in first),
             *((16 + 8 * (i + 1), word) for i, word in enumerate(words))]
    code = []
    for i, (at, word) in enumerate(tests):
        code += [(load, 0, 0, at), (equal, 0, 2 * (len(tests) - i) - 1, word)]
    code += [(end, 0, 0, 0x50000 | error), (end, 0, 0, 0x7fff0000)]
    data = ctypes.create_string_buffer(b''.join(struct.pack('=HBBI', *c) for c in code))
    program = struct.pack('@HP', len(code), ctypes.addressof(data))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
port = int(sys.argv[1]) if sys.argv[1:] else 0
"""

MACHINES = "x86_64", "aarch64"  # whose calls' numbers forbid() knows


def script(code, *arguments):
    command = program(PRELUDE)
    command[-1] += program(code)[-1]
    return [*command, *map(str, arguments)]


def steered(code, *arguments, rules=({"local_ports": [SET]},), more=None, before=(), **popen):
    with policy(*rules, **(more or {})) as file:
        o = Observed([*before, *script(code, *arguments)], "-P", file, **popen)
    equal((o.process.returncode, o.process.stderr), (0, ""), "exit status and stderr")
    return o


def counters(o):
    """The first rule's, of all processes together."""
    total = {}
    for line in o.stats:
        for rule in line["rules"]:
            for key, value in rule.items():
                if key != "name":
                    total[key] = total.get(key, 0) + value
    return total


BY_RANGE = {"local_ports": [SET]}
BY_BIND = {"local_ports": [SET], "via": "bind"}
FROM_POOL = {"local_ports": [SET], "local_addresses": ["127.0.0.7", "::1"]}
FROM_POOL_BY_BIND = {**FROM_POOL, "via": "bind"}
EVERY_WAY = (BY_RANGE, BY_BIND, FROM_POOL, FROM_POOL_BY_BIND)


def same(code, *arguments, ways=EVERY_WAY, **options):
    """What the code says is the same plainly and under each of the rules."""
    plain = subprocess.run(script(code, *arguments), capture_output=True, text=True)
    equal((plain.returncode, plain.stderr), (0, ""), "exit status and stderr without berth")
    observed = []
    for rule in ways:
        o = steered(code, *arguments, rules=(rule,), **options)
        pairs = list(zip(o.process.stdout.splitlines(), plain.stdout.splitlines()))
        equal([got for got, want in pairs if got != want],
              [want for got, want in pairs if got != want], f"under {rule}")
        observed.append(o)
    return observed
