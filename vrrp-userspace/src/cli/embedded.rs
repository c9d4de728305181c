//! The embedded default: what serves where nobody has named a configuration.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};
use vrrp_userspace::{
    config::{
        self,
        default::{self, Choice},
        model::Config,
    },
    daemon::Origin,
    discovery,
    handover::Parcel,
    net,
};

use super::RunArguments;

/// The embedded default, on a VRID that no stranger uses.
pub(super) async fn embedded(
    interface: &str,
    arguments: &RunArguments,
    parcel: Option<&Parcel>,
) -> Result<(Config, Origin)> {
    let table = net::watch().await?.borrow().clone();
    let Some(found) = table.by_name(interface) else {
        bail!(
            "there is no interface {interface}; there are {}",
            table.names()
        );
    };
    let vips = match arguments.vip.as_slice() {
        [] => vec![(default::VIP, 32)],
        vips => distinct(vips),
    };
    if vips.len() > usize::from(u8::MAX) {
        bail!(
            "an advert carries 255 addresses at most; {} were given with --vip",
            vips.len()
        );
    }
    tracing::info!(
        "no configuration given: this is the embedded default. Bring your own with --config FILE \
         (keepalived.conf syntax)"
    );
    // Whoever takes another daemon's place has no time to listen, and need not.
    let before = parcel.and_then(|parcel| parcel.handover.instances.first());
    let before = before.filter(|left| left.inheritance.is_some() && left.interface == interface);
    let vrid = match arguments.vrid.or(before.map(|left| left.vrid)) {
        Some(vrid) => vrid,
        None => unused_vrid(interface, found.index, &vips).await?,
    };
    let choice = Choice {
        interface: interface.to_owned(),
        vrid,
        vips,
        priority: arguments.priority.unwrap_or(default::PRIORITY),
        interval_cs: arguments.advert_int.unwrap_or(100),
    };
    let addresses: Vec<String> = choice
        .vips
        .iter()
        .map(|(address, prefix)| format!("{address}/{prefix}"))
        .collect();
    tracing::info!(
        "VRID {vrid}, priority {}, {} on {interface}",
        choice.priority,
        addresses.join(", ")
    );
    let origin = Origin::Embedded {
        yields: arguments.vrid.is_none(),
    };
    Ok((default::config(&choice), origin))
}

/// Each address once, in the order given.
fn distinct(vips: &[(Ipv4Addr, u8)]) -> Vec<(Ipv4Addr, u8)> {
    let mut list: Vec<(Ipv4Addr, u8)> = Vec::new();
    for vip in vips {
        if !list.iter().any(|(address, _)| *address == vip.0) {
            list.push(*vip);
        }
    }
    list
}

async fn unused_vrid(interface: &str, ifindex: u32, vips: &[(Ipv4Addr, u8)]) -> Result<u8> {
    let seconds = discovery::LISTEN.as_secs();
    tracing::info!(
        "listening on {interface} for {seconds} s for virtual routers that are there already"
    );
    let lan = tokio::task::spawn_blocking(move || discovery::listen(ifindex)).await??;
    let addresses: Vec<Ipv4Addr> = vips.iter().map(|(address, _)| *address).collect();
    let Some(vrid) = discovery::free_vrid(&lan, default::VRID, &addresses) else {
        bail!("every VRID on {interface} is in use by others; choose one with --vrid");
    };
    if vrid != default::VRID {
        tracing::info!(
            "strangers use VRID {} on this LAN; taking {vrid}",
            default::VRID
        );
    }
    Ok(vrid)
}

pub(super) fn parse_vip(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
    let address: Ipv4Addr = address
        .parse()
        .map_err(|_| format!("{address} is not an IPv4 address"))?;
    if !config::can_be_virtual(address.into()) {
        return Err(format!("{address} cannot be anybody's address"));
    }
    match prefix.parse() {
        Ok(prefix @ 0..=32) => Ok((address, prefix)),
        _ => Err(format!("/{prefix} is not a prefix length from 0 to 32")),
    }
}

pub(super) fn parse_interval(text: &str) -> Result<u16, String> {
    let explain = || "seconds from 0.01 to 40.95".to_owned();
    let seconds: f64 = text.parse().map_err(|_| explain())?;
    if !(0.01..=40.95).contains(&seconds) {
        return Err(explain());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked just above"
    )]
    Ok((seconds * 100.0).round() as u16)
}
