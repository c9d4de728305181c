//! Programs and maps that are made by hand, instruction by instruction: what `BPF_PROG_TEST_RUN` itself
//! takes, what a single helper takes, and a frame that is put back before every run.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

use crate::bench::Entry;

/// A loaded program.
pub(super) struct Program {
    fd: OwnedFd,
    /// What it needs as long as it lives.
    _maps: Vec<Map>,
}

/// A map.
pub(super) struct Map(OwnedFd);

/// Kinds of maps (`enum bpf_map_type`).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum MapKind {
    Hash = 1,
    Array = 2,
    Programs = 3,
    PerCpuArray = 6,
}

/// Helpers (`enum bpf_func_id`).
#[derive(Clone, Copy)]
#[repr(i32)]
pub(super) enum Helper {
    MapLookup = 1,
    TailCall = 12,
    BootTime = 125,
}

/// A register.
#[derive(Clone, Copy)]
pub(super) struct R(pub(super) u8);

/// `struct bpf_insn`, as a word: opcode, registers, offset, immediate.
fn word(code: u8, to: R, from: R, offset: i16, immediate: i32) -> u64 {
    let [low, high] = offset.to_le_bytes();
    let [a, b, c, d] = immediate.to_le_bytes();
    u64::from_le_bytes([code, to.0 | from.0 << 4, low, high, a, b, c, d])
}

/// Instructions in the order that they are written in.
#[derive(Clone, Default)]
pub(super) struct Code(Vec<u64>);

impl Code {
    pub(super) fn set(&mut self, to: R, value: i32) {
        self.0.push(word(0xb7, to, R(0), 0, value));
    }

    pub(super) fn copy(&mut self, to: R, from: R) {
        self.0.push(word(0xbf, to, from, 0, 0));
    }

    pub(super) fn add(&mut self, to: R, value: i32) {
        self.0.push(word(0x07, to, R(0), 0, value));
    }

    /// All 64 bits.
    pub(super) fn set_wide(&mut self, to: R, value: u64) {
        self.wide(to, R(0), value);
    }

    pub(super) fn set_map(&mut self, to: R, map: &Map) {
        let fd = u64::try_from(map.0.as_raw_fd()).expect("a descriptor");
        self.wide(to, R(1), fd);
    }

    fn wide(&mut self, to: R, what: R, value: u64) {
        let [low, high] = [value & 0xffff_ffff, value >> 32]
            .map(|half| u32::try_from(half).expect("half of it").cast_signed());
        self.0.push(word(0x18, to, what, 0, low));
        self.0.push(word(0, R(0), R(0), 0, high));
    }

    /// Four bytes of memory.
    pub(super) fn load(&mut self, to: R, from: R, offset: i16) {
        self.0.push(word(0x61, to, from, offset, 0));
    }

    pub(super) fn store(&mut self, to: R, offset: i16, from: R) {
        self.0.push(word(0x7b, to, from, offset, 0));
    }

    pub(super) fn store_byte(&mut self, to: R, offset: i16, value: u8) {
        self.0.push(word(0x72, to, R(0), offset, i32::from(value)));
    }

    pub(super) fn call(&mut self, helper: Helper) {
        self.0.push(word(0x85, R(0), R(0), 0, helper as i32));
    }

    /// Skips so many words where the first is above the second.
    pub(super) fn skip_if_above(&mut self, this: R, that: R, words: i16) {
        self.0.push(word(0x2d, this, that, words, 0));
    }

    pub(super) fn exit(&mut self, verdict: i32) {
        self.set(R(0), verdict);
        self.0.push(word(0x95, R(0), R(0), 0, 0));
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    fn len(&self) -> i16 {
        i16::try_from(self.0.len()).expect("a short program")
    }
}

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
/// `BPF_F_XDP_HAS_FRAGS`: programs that call each other have to agree on it.
const HAS_FRAGS: u32 = 1 << 5;
/// `BPF_XDP`, on which they have to agree as well.
const ATTACH_XDP: u32 = 37;

/// The beginnings of `union bpf_attr`; the rest is zero.
#[repr(C)]
#[derive(Default)]
struct Create {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
    rest: [u64; 8],
}

#[repr(C)]
#[derive(Default)]
struct Update {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
    rest: [u64; 4],
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    verdict: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration_ns: u32,
    rest: [u64; 4],
}

fn address<T: ?Sized>(value: *const T) -> u64 {
    u64::try_from(value.cast::<u8>().addr()).expect("an address")
}

fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<i32> {
    let size = u32::try_from(size_of::<T>()).expect("a size");
    // SAFETY: the attributes are a prefix of the kernel's union, of this size, and what they point to outlives
    // the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

fn descriptor<T>(command: libc::c_int, attributes: &mut T, what: &str) -> OwnedFd {
    let fd = call(command, attributes).unwrap_or_else(|error| panic!("{what}: {error}"));
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

impl Map {
    pub(super) fn new(kind: MapKind, key: u32, value: u32, entries: u32) -> Self {
        let mut create = Create {
            kind: kind as u32,
            key,
            value,
            entries,
            ..Create::default()
        };
        Self(descriptor(MAP_CREATE, &mut create, "make a map"))
    }

    /// Both as long as the map's are.
    pub(super) fn put(&self, key: &[u8], value: &[u8]) {
        let mut update = Update {
            map: number(&self.0),
            key: address(key.as_ptr()),
            value: address(value.as_ptr()),
            ..Update::default()
        };
        call(MAP_UPDATE, &mut update).expect("put an entry into a map");
    }
}

fn number(fd: &OwnedFd) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("a descriptor")
}

impl Program {
    /// Of the kind that this entry point has.
    pub(super) fn load(entry: Entry, code: &Code, maps: Vec<Map>) -> Self {
        const XDP: u32 = 6;
        const CLASSIFIER: u32 = 3;
        let (kind, flags, attach_type) = match entry {
            Entry::Xdp => (XDP, HAS_FRAGS, ATTACH_XDP),
            Entry::Tc | Entry::Accept | Entry::Egress => (CLASSIFIER, 0, 0),
        };
        let mut load = Load {
            kind,
            count: u32::try_from(code.0.len()).expect("a length"),
            instructions: address(code.0.as_ptr()),
            license: address(c"GPL".as_ptr()),
            flags,
            attach_type,
            ..Load::default()
        };
        Self {
            fd: descriptor(PROG_LOAD, &mut load, "load a program"),
            _maps: maps,
        }
    }

    /// A program that passes every frame.
    pub(super) fn empty(entry: Entry) -> Self {
        let mut code = Code::default();
        code.exit(2);
        Self::load(entry, &code, Vec::new())
    }

    /// A program that makes every frame this one, and hands it to another program.
    pub(super) fn refill(entry: Entry, frame: &[u8], next: BorrowedFd<'_>) -> Self {
        /// Where `struct xdp_md` and `struct __sk_buff` say where the frame begins and ends.
        const XDP: (i16, i16) = (0, 4);
        const SOCKET_BUFFER: (i16, i16) = (76, 80);
        let (begin, end) = if entry == Entry::Xdp {
            XDP
        } else {
            SOCKET_BUFFER
        };
        let programs = Map::new(MapKind::Programs, 4, 4, 1);
        programs.put(&[0; 4], &next.as_raw_fd().to_ne_bytes());
        let mut write = Code::default();
        let whole = frame.chunks_exact(8);
        let rest = whole.remainder();
        let mut offset = 0;
        for bytes in whole {
            let bytes = bytes.try_into().expect("eight bytes");
            write.set_wide(R(5), u64::from_le_bytes(bytes));
            write.store(R(2), offset, R(5));
            offset += 8;
        }
        for byte in rest {
            write.store_byte(R(2), offset, *byte);
            offset += 1;
        }
        write.copy(R(1), R(6));
        write.set_map(R(2), &programs);
        write.set(R(3), 0);
        write.call(Helper::TailCall);
        let mut code = Code::default();
        code.copy(R(6), R(1));
        code.load(R(2), R(1), begin);
        code.load(R(3), R(1), end);
        code.copy(R(4), R(2));
        code.add(R(4), i32::from(offset));
        code.skip_if_above(R(4), R(3), write.len());
        code.extend(&write);
        code.exit(0);
        Self::load(entry, &code, vec![programs])
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd as _;
        self.fd.as_fd()
    }

    /// What it makes of a frame, and how long it takes, the mean of so many runs.
    pub(super) fn run(&self, frame: &[u8], repeat: u32) -> (u32, Duration) {
        let mut run = TestRun {
            program: number(&self.fd),
            size_in: u32::try_from(frame.len()).expect("a length"),
            data_in: address(frame.as_ptr()),
            repeat,
            ..TestRun::default()
        };
        call(PROG_TEST_RUN, &mut run).expect("run a program");
        (
            run.verdict,
            Duration::from_nanos(u64::from(run.duration_ns)),
        )
    }
}
