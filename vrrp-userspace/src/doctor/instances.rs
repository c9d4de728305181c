//! An instance: its interface, where frames are judged there, and who else minds its addresses.

use vrrp_common::contract::Family;

use super::{Case, Finding};
use crate::{
    config::model::Instance,
    control::model::{InstanceStatus, InterfaceStatus},
    net::Interface,
};

pub(super) fn examine(instance: &Instance, case: &Case<'_>) -> Vec<Finding> {
    let name = &instance.interface;
    let Some(interface) = case.table.by_name(name) else {
        return vec![Finding::wrong(
            name,
            format!(
                "{} is to be served there, and there is no such interface",
                instance.name
            ),
            format!(
                "there are {}; mend `interface`, or set dynamic_interfaces to wait for it",
                case.table.names()
            ),
        )];
    };
    let mut findings = Vec::new();
    if !interface.running {
        findings.push(Finding::wrong(
            name,
            "it is down or has no carrier",
            format!("ip link set {name} up, and look at the cable and the switch port"),
        ));
    }
    if let Some(status) = case.status {
        let mut all = status.interfaces.iter();
        findings.extend(all.find(|it| it.name == *name).map(attachment));
        let mut all = status.instances.iter();
        if let Some(standing) = all.find(|it| it.name == instance.name) {
            findings.extend(standing_of(standing));
        }
    }
    findings.extend(kernel_settings(instance, case));
    findings.extend(managers(interface, case));
    if instance.virtual_mac.is_some()
        && let Some(vendor) = case.host.hypervisor()
    {
        findings.push(Finding::note(
            &instance.name,
            format!("use_vmac under {vendor}: many virtual switches drop frames from a MAC that is not the machine's own"),
            "allow forged transmits and MAC changes (vSphere), MAC spoofing (Hyper-V), or leave use_vmac out; \
             clouds do not carry VRRP at all",
        ));
    }
    findings
}

/// Where frames are judged.
fn attachment(interface: &InterfaceStatus) -> Finding {
    let name = &interface.name;
    let why = interface.reason.clone().unwrap_or_default();
    match interface.attached.as_deref() {
        Some("native") if interface.fence => Finding::fine(
            name,
            "frames are judged in the driver (native XDP), with a fence",
        ),
        Some(mode) if interface.fence => Finding::note(
            name,
            format!("frames are judged by {mode}, with a fence, and not in the driver: {why}"),
            "nothing is lost by that but time under a flood; a driver with native XDP does it earlier",
        ),
        Some(mode) => Finding::wrong(
            name,
            format!("frames are judged by {mode}, and there is no fence: {why}"),
            "a daemon that hangs would go on answering; let a kernel program attach (--xdp-mode auto)",
        ),
        None => Finding::wrong(
            name,
            "nothing is attached there",
            "the daemon's log says why",
        ),
    }
}

fn standing_of(standing: &InstanceStatus) -> Vec<Finding> {
    let name = &standing.name;
    let mut findings = vec![match standing.state.as_str() {
        "FAULT" => Finding::wrong(
            name,
            format!("it is in FAULT: {}", standing.faults.join("; ")),
            "mend what holds it there",
        ),
        state => Finding::fine(name, format!("it is {state}: {}", standing.why)),
    }];
    if !standing.unfenced.is_empty() {
        let others = standing.unfenced.join(", ");
        let settings: Vec<String> = standing
            .unfenced
            .iter()
            .map(|it| format!("sysctl -w net.ipv4.conf.{}.arp_ignore=1", in_sysctl(it)))
            .collect();
        findings.push(Finding::wrong(
            name,
            format!("the kernel would answer for its addresses on {others} too, outside the fence"),
            settings.join("; "),
        ));
    }
    for mistake in &standing.mistakes {
        findings.push(Finding::wrong(
            name,
            mistake.what.clone(),
            "the neighbour is to be mended; `xvrrp tap` shows its adverts",
        ));
    }
    findings
}

fn kernel_settings(instance: &Instance, case: &Case<'_>) -> Vec<Finding> {
    let name = &instance.interface;
    let mut findings = Vec::new();
    let (file, setting) = match instance.family() {
        Family::V4 => (
            "proc/sys/net/ipv4/ip_nonlocal_bind",
            "net.ipv4.ip_nonlocal_bind",
        ),
        Family::V6 => (
            "proc/sys/net/ipv6/ip_nonlocal_bind",
            "net.ipv6.ip_nonlocal_bind",
        ),
    };
    findings.push(if case.host.read(file).as_deref() == Some("1") {
        Finding::fine("kernel", format!("services can bind virtual addresses before they are here ({setting})"))
    } else {
        Finding::note(
            "kernel",
            "a service that binds a virtual address itself cannot start while this machine is BACKUP",
            format!("sysctl -w {setting}=1, or let the service bind every address"),
        )
    });
    if instance.family() == Family::V4 && case.host.of_interface(name, "rp_filter") == 1 {
        findings.push(Finding::note(
            name,
            "strict reverse path filtering: packets to the virtual addresses are dropped where the way back is \
             another interface",
            format!(
                "sysctl -w net.ipv4.conf.{}.rp_filter=2 where clients come by more than one way",
                in_sysctl(name)
            ),
        ));
    }
    findings
}

/// Programs that think that the interface is theirs.
fn managers(interface: &Interface, case: &Case<'_>) -> Vec<Finding> {
    let Interface { name, index, .. } = interface;
    let mut findings = Vec::new();
    let networkd = case.host.read(&format!("run/systemd/netif/links/{index}"));
    if networkd.is_some_and(|text| text.contains("ADMIN_STATE=configured")) {
        findings.push(Finding::note(
            name,
            "systemd-networkd manages it, and takes addresses off that it does not know when it is restarted; the \
             daemon puts them back",
            "KeepConfiguration=static in the [Network] section of its .network file; ManageForeignRoutes=no and \
             ManageForeignRoutingPolicyRules=no in networkd.conf where virtual_routes and virtual_rules are used",
        ));
    }
    let manager = case
        .host
        .read(&format!("run/NetworkManager/devices/{index}"));
    if manager.is_some_and(|text| text.contains("managed=true")) {
        findings.push(Finding::note(
            name,
            "NetworkManager manages it, and may take addresses off when a connection is changed; the daemon puts \
             them back",
            format!("unmanaged-devices=interface-name:{name} in NetworkManager.conf, or keep the connection as it is"),
        ));
    }
    if case.status.is_some()
        && case
            .host
            .runs_by_pid_file("run/keepalived.pid", "keepalived")
    {
        findings.push(Finding::wrong(
            "daemon",
            "keepalived runs beside it (/run/keepalived.pid)",
            "only one of them may have an address: systemctl disable --now keepalived",
        ));
    }
    findings
}

/// The name of an interface as `sysctl` takes it: a dot in it is a slash there.
fn in_sysctl(interface: &str) -> String {
    interface.replace('.', "/")
}
