//! Watching VRRP on a LAN without taking part: `xvrrp tap` and `xvrrp observe`.

mod advert;
mod findings;
mod lan;
mod pcap;

pub use advert::{Advert, Judgement};
pub use findings::Finding;
pub use lan::{Lan, Router, VirtualRouter};
pub use pcap::Recording;
