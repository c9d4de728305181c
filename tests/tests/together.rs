//! Many virtual routers on one machine: their adverts come together, and none comes late.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use xvrrp_tests::{
    capture::Capture,
    frames::Said,
    ms,
    netns::Lan,
    process::Scratch,
    wait_for,
    xvrrp::{Xvrrp, instances},
};

const COUNT: u8 = 20;
const INTERVAL_NS: u64 = 100_000_000;
const LONG: Duration = Duration::from_secs(20);

/// When each VRID was advertised, in order.
fn adverts(capture: &Capture) -> BTreeMap<u8, Vec<u64>> {
    let mut all: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    for seen in capture.seen() {
        if let Said::Advert { source, vrid, .. } = seen.said
            && source == IpAddr::from(Lan::address(0))
        {
            all.entry(vrid).or_default().push(seen.at_ns);
        }
    }
    all
}

#[test]
fn adverts_of_many_come_together_and_never_late() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("together");
    let capture = Capture::start(&lan.hosts[1], "eth0", None);
    let config = instances(COUNT, 100, 0.1, "");
    let _router = Xvrrp::with_config(&lan.hosts[0], &scratch, &config);
    let apart = wait_for("the last adverts of all to come together", LONG, || {
        let all = adverts(&capture);
        let last: Vec<u64> = all.values().filter_map(|it| it.last().copied()).collect();
        let apart = last.iter().max()? - last.iter().min()?;
        let are_many = all.values().all(|it| it.len() > 12);
        let are_together = apart < INTERVAL_NS / 10;
        (all.len() == usize::from(COUNT) && are_many && are_together).then_some(apart)
    });
    println!("all within {:.2} ms", ms(apart));
    for (vrid, times) in adverts(&capture) {
        for pair in times.windows(2) {
            let gap = pair[1] - pair[0];
            assert!(gap < INTERVAL_NS * 3 / 2, "{vrid}: {:.2} ms", ms(gap));
        }
    }
}
