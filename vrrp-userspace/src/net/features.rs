//! What a network device does to frames by itself, as `ethtool -k` shows it.

use ethtool::{EthtoolAttr, EthtoolFeatureAttr};
use futures::TryStreamExt as _;

/// The feature behind `rxvlan`.
const STRIPS_TAGS: &str = "rx-vlan-hw-parse";

/// Whether the device takes VLAN tags out of frames it receives; `None` where the kernel does not
/// tell.
pub async fn strips_vlan_tags(interface: &str) -> Option<bool> {
    let (connection, mut handle, _) = ethtool::new_connection().ok()?;
    let connection = tokio::spawn(connection);
    let answer = handle.feature().get(Some(interface)).execute().await.ok()?;
    let messages: Vec<_> = answer.try_collect().await.ok()?;
    connection.abort();
    let attributes = messages
        .into_iter()
        .flat_map(|message| message.payload.nlas);
    let mut active = attributes.filter_map(|attribute| match attribute {
        EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) => Some(bits),
        _ => None,
    });
    Some(active.next()?.iter().any(|bit| bit.name == STRIPS_TAGS))
}
