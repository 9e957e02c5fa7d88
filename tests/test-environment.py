# SPDX-License-Identifier: MIT
"""Environments: none, huge ones, ones that are not of NAME=VALUE, ones that the program changes."""
import tempfile

import berthtest
from berthtest import BERTH, LIBBERTH, equal, log_of, program
from waytest import EVENTS, STEERED, WAYS, policy, run, same, steered_right, steps, variables

CONNECT = """
    libc = ctypes.CDLL(None)
    def connect():
        s = socket(AF_INET, SOCK_DGRAM)
        s.connect(('127.0.0.1', 9))
        s.close()
    """


def script(code, *arguments):
    command = program(CONNECT)
    command[-1] += program(code)[-1]
    return [*command, *map(str, arguments)]


def test_nothing_else():
    """env -i with berth's own variables alone; and none but LD_PRELOAD"""
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            settings = [f"{k}={v}" for k, v in variables(way, folder + "/new").items()]
            equal(run(["env", "-i", *settings, *steps()], {}), run(steps(), {}), way)
            events = log_of(folder + "/new")
            equal(len(events), EVENTS, "events")
            steered_right(way, events)
    equal(run(["env", "-i", "LD_PRELOAD=" + LIBBERTH, *steps()], {}), run(steps(), {}), "alone")


def test_huge():
    """a variable of 100 KiB and ten thousand small ones, before and behind berth's"""
    many = {f"N{i}": "v" * 50 for i in range(10000)}
    same(steps(), settings={"A": "a" * 100_000, **many})
    same(steps(), settings={f"BERTH_{i}": "x" for i in range(1000)})


def test_emptied_by_the_program():
    """environ = NULL, and clearenv(): it goes on with what it was started with"""
    for clear in ("ctypes.c_void_p.in_dll(libc, 'environ').value = None", "libc.clearenv()"):
        same(script(f"""
            {clear}
            connect()
            assert libc.getenv(b'LD_PRELOAD') in (0, None)
            connect()"""), 2)


def test_changed_by_the_program():
    """putenv() after the start: what berth was told at the start holds; the text is not kept"""
    for name, value in ("BERTH_RECORD", "off"), ("BERTH_POLICY", "/none"), ("BERTH_LOG", "stderr"):
        same(script(f"""
            text = ctypes.create_string_buffer(b'{name}={value}')
            libc.putenv(text)
            connect()
            ctypes.memset(text, 0x78, len(text))
            connect()"""), 2)


def test_overwritten_by_the_program():
    """the memory of the environment overwritten, as setproctitle() does"""
    same(script("""
        libc.environ_at = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, 'environ')
        at = ctypes.cast(libc.environ_at, ctypes.POINTER(ctypes.c_void_p))
        places, i = [], 0
        while at[i]:
            places.append((at[i], len(ctypes.string_at(at[i]))))
            i += 1
        for place, size in places:
            ctypes.memset(place, 0x2e, size)
        connect()
        connect()"""), 2)


ODD = """
    entries = [b'', b'=', b'=x', b'NOVALUE', b'BERTH_RECORD', b'BERTH_POLICY', b'B', b'LD_PRELOAD',
               *(f'{k}={v}'.encode() for k, v in os.environ.items()), b'TMPDIR', b'X', b'R=', b'T']
    array = (ctypes.c_char_p * (len(entries) + 1))(*entries)
    words = [w.encode() for w in sys.argv[1:]]
    arguments = (ctypes.c_char_p * (len(words) + 1))(*words)
    libc.execve(words[0], arguments, array)
    """


def test_no_variables():
    """entries that are empty, or have no value, beside berth's"""
    same(script(ODD, *steps()))


def test_child_without_environment():
    """execve() with no environment: the child is not observed, and runs"""
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            code = """
                connect()
                words = [w.encode() for w in sys.argv[1:]]
                arguments = (ctypes.c_char_p * (len(words) + 1))(*words)
                libc.execve(words[0], arguments, None)"""
            got = run(script(code, *steps()), variables(way, folder + "/new"))
            equal(got, run(steps(), {}), way)
            equal(len(log_of(folder + "/new")), 1, "events")


def test_preload_of_empty_pieces():
    """berth run with an LD_PRELOAD of empty pieces"""
    for way in WAYS:
        steering = ["-P", policy(way)] if way in STEERED else []
        for value in "", ":", " : ", f":{LIBBERTH}:":
            status, said, lines = run([BERTH, "run", *steering, "--", *steps()],
                                      {"LD_PRELOAD": value})
            equal((status, said), run(steps(), {})[:2], f"{way}, {value!r}")
            equal(lines.count("\n"), EVENTS, lines)


if __name__ == "__main__":
    berthtest.main()
