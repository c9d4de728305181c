//! Frames for Wireshark and its like.

use std::{borrow::Cow, fs::File, io::BufWriter, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use pcap_file::{
    DataLink, Endianness, TsResolution,
    pcap::{PcapHeader, PcapPacket, PcapWriter},
};

use crate::net::Sniffed;

/// A file that frames are written to.
pub struct Recording(PcapWriter<BufWriter<File>>);

impl Recording {
    /// Writes over what is there.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path);
        let file = file.with_context(|| format!("write {}", path.display()))?;
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            endianness: Endianness::native(),
            ts_resolution: TsResolution::NanoSecond,
            ..PcapHeader::default()
        };
        let writer = PcapWriter::with_header(BufWriter::new(file), header);
        Ok(Self(writer.context("write the head of a pcap file")?))
    }

    /// Writes a frame as it was on the wire.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn add(&mut self, sniffed: &Sniffed) -> Result<()> {
        let frame = sniffed.on_the_wire();
        let packet = PcapPacket {
            timestamp: Duration::from_nanos(sniffed.at_ns),
            orig_len: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            data: Cow::Owned(frame),
        };
        self.0
            .write_packet(&packet)
            .context("write a frame into the pcap file")?;
        Ok(())
    }
}
