//! Made-up requests to the control interface, and made-up files of a daemon before.

use std::{sync::LazyLock, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
    runtime::{Builder, Runtime},
    sync::mpsc,
    time::timeout,
};
use vrrp_userspace::{
    control::{self, Question},
    handover::Handover,
    history::History,
};

/// A request that is answered at all is answered at once.
const PATIENCE: Duration = Duration::from_secs(5);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
});

/// Sends bytes to the control interface, or reads them as what a daemon before has written.
pub fn control(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    if first & 1 == 0 {
        // An error is an answer.
        let _ = Handover::parse(rest);
        return;
    }
    RUNTIME.block_on(ask(rest));
}

async fn ask(bytes: &[u8]) {
    let (asked, mut questions) = mpsc::channel(16);
    let (mut ours, theirs) = duplex(1 << 16);
    let served = control::Served::new(asked, History::default());
    let served = tokio::spawn(control::serve_connection(theirs, served));
    let answered = tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            match question {
                // Whoever asks is told that nobody is there.
                Question::Status(reply) => drop(reply),
                Question::Upgrade(reply) => drop(reply),
                Question::Reload(reply) => drop(reply),
                Question::Hand(_, reply) => drop(reply),
            }
        }
    });
    let exchange = async {
        // The other end may close first.
        let _ = ours.write_all(bytes).await;
        let _ = ours.shutdown().await;
        let mut answer = Vec::new();
        let _ = ours.read_to_end(&mut answer).await;
        answer
    };
    let answer = timeout(PATIENCE, exchange).await.expect("an end");
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1."),
        "{answer:?}"
    );
    served.await.expect("the server does not panic");
    answered.await.expect("the end of the questions");
}
