//! An XDP program of two instructions: what `BPF_PROG_TEST_RUN` itself takes.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};

/// It passes every frame.
pub(super) struct Empty(OwnedFd);

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_PROG_TYPE_XDP: u32 = 6;
/// `r0 = XDP_PASS; exit`.
static INSTRUCTIONS: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// The beginning of `union bpf_attr` for loading a program; the rest is zero.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    rest: [u64; 8],
}

/// The same for a test run.
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

impl Empty {
    pub(super) fn load() -> Self {
        let mut load = Load {
            kind: BPF_PROG_TYPE_XDP,
            count: 2,
            instructions: address(INSTRUCTIONS.as_ptr()),
            license: address(c"GPL".as_ptr()),
            ..Load::default()
        };
        let fd = call(BPF_PROG_LOAD, &mut load).expect("load an empty program");
        // SAFETY: the kernel has just made this descriptor for us.
        Self(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// How long it takes on a frame, the mean of so many runs.
    pub(super) fn time(&self, frame: &[u8], repeat: u32) -> Duration {
        let mut run = TestRun {
            program: u32::try_from(self.0.as_raw_fd()).expect("a descriptor"),
            size_in: u32::try_from(frame.len()).expect("a length"),
            data_in: address(frame.as_ptr()),
            repeat,
            ..TestRun::default()
        };
        call(BPF_PROG_TEST_RUN, &mut run).expect("run an empty program");
        Duration::from_nanos(u64::from(run.duration_ns))
    }
}
