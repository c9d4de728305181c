//! Sending as many frames as the machine can.

use std::{
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use crate::{capture::Sender, netns::Namespace, oracle};

/// Frames handed to the kernel at once.
const BATCH: usize = 64;

/// What was sent, and in what time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Poured {
    /// Frames the kernel took.
    pub frames: u64,
    /// How long it took.
    pub took: Duration,
}

impl Poured {
    /// Frames per second.
    pub fn rate(&self) -> u64 {
        let micros = u64::try_from(self.took.as_micros()).expect("a short time");
        self.frames * 1_000_000 / micros.max(1)
    }
}

/// Sends the frames in turn, over and over, as fast as the kernel takes them, for some time.
pub fn pour(namespace: &Namespace, frames: &[Vec<u8>], time: Duration) -> Poured {
    for frame in frames {
        oracle::note(frame);
    }
    let sender = Sender::new(namespace);
    let mut parts: Vec<libc::iovec> = (0..BATCH.next_multiple_of(frames.len()))
        .map(|number| &frames[number % frames.len()])
        .map(|frame| libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: a message header of zeroes is one without name, parts and control data.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let count = u32::try_from(messages.len()).expect("a small batch");
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < time {
        // SAFETY: the headers point to parts that point to frames, all of which outlive the call; the
        // kernel writes nothing but the lengths in the headers.
        let taken = unsafe { libc::sendmmsg(sender.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
        sent += u64::try_from(taken).unwrap_or_default();
    }
    Poured {
        frames: sent,
        took: begun.elapsed(),
    }
}
