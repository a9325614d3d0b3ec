"""What a script runs to have a system call refused, in its own process and in those that it starts: by seccomp(2), which needs no privileges."""

CONFINE = '''
import ctypes, errno, platform, struct

F_ADD_SEALS = 1033
CALLS = {"x86_64": {"fcntl": 72, "clone3": 435}, "aarch64": {"fcntl": 25, "clone3": 435}}[platform.machine()]

def refuse(call, number, second_argument=None):
    """Has `call` fail with an error number, perhaps only where its second argument is this one."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS; BPF_JMP | BPF_JEQ | BPF_K; BPF_RET | BPF_K
    tests = [(load, 0, 0, 0), (equal, 0, None, CALLS[call])]
    if second_argument is not None:
        tests += [(load, 0, 0, 16 + 8), (equal, 0, None, second_argument)]
    program = tests + [(give, 0, 0, 0x00050000 | number), (give, 0, 0, 0x7FFF0000)]
    # A test that fails leads to the last instruction, which allows the call.
    filled = [(code, yes, len(program) - at - 2 if no is None else no, k) for at, (code, yes, no, k) in enumerate(program)]
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in filled))
    whole = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(filled), ctypes.addressof(filters)))
    libc = ctypes.CDLL(None, use_errno=True)
    word = ctypes.c_ulong
    assert libc.prctl(38, word(1), word(0), word(0), word(0)) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, word(2), whole, word(0), word(0)) == 0, os.strerror(ctypes.get_errno())  # PR_SET_SECCOMP
'''
