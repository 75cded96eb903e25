//! What the metrics of one transfer cost, and what the transfer of a small file costs with all of that: a
//! file of 1 KiB that an SFTP client opens, reads and closes, from a folder and without the network.

#![allow(missing_docs, reason = "criterion's macros")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use lockgate::auth::{GuardSettings, LoginGuard, PasswordCheck, UserTable};
use lockgate::backend::local::{LocalBackend, Settings};
use lockgate::backend::{Backend, PartialUploads};
use lockgate::net::{Drain, Endpoints};
use lockgate::op::{Direction, OpenMode, RemotePath};
use lockgate::route::{
    Access, Account, Authenticator, Backends, Match, Root, RootSetting, Route, RouteBackend,
    RouteTable,
};
use lockgate::session::{
    ClientInfo, EndedTransfer, Gateway, Limits, Metrics, MetricsScope, Proof, Session,
    SessionLabels, ShownUsers,
};
use prometheus::Registry;
use tokio::runtime::Runtime;

const USER: &[u8] = b"anonymous";

fn metrics() -> Arc<Metrics> {
    let metrics = Metrics::register(&Registry::new()).expect("metrics");
    // As costly as it gets: the user has metrics, too.
    let named = ["anonymous".to_owned()].into();
    let shown = ShownUsers { named, busiest: 100 };
    metrics.put_in_force(&Limits::default(), shown, MetricsScope::default());
    Arc::new(metrics)
}

fn of_one_transfer(criterion: &mut Criterion) {
    let metrics = metrics();
    let labels = SessionLabels {
        listener: "public-sftp",
        protocol: "sftp",
        backend: "warehouse",
        user: USER,
    };
    let ended = EndedTransfer {
        direction: Direction::Download,
        outcome: "ok",
        began: true,
        duration: Duration::from_millis(3),
        first_byte: Some(Duration::from_millis(2)),
    };
    criterion.bench_function("metrics of one transfer", |bencher| {
        bencher.iter(|| {
            let labels = black_box(&labels);
            metrics.bytes(labels).add(0, 1024);
            metrics.operation(labels, "read", "ok", "none");
            metrics.transfer(labels, black_box(&ended));
        });
    });
}

/// A session at a folder with the file `small`.
async fn session(folder: &std::path::Path) -> Session {
    let settings = Settings { folder: folder.into(), partial_uploads: PartialUploads::Keep };
    let backend: Arc<dyn Backend> = Arc::new(LocalBackend::open(&settings).expect("the folder"));
    let access = Access::Gateway { by: Authenticator::Anonymous, account: Account::None };
    let gateway = Gateway {
        passwords: Arc::new(PasswordCheck::new(UserTable::default())),
        key_trust: HashMap::new(),
        login_hooks: Default::default(),
        guard: LoginGuard::new(GuardSettings::default(), &Registry::new()).expect("the guard"),
        routes: RouteTable(vec![Route {
            matches: Match::default(),
            backends: Backends::One(RouteBackend { name: "files".into(), access }),
            root: RootSetting::Same(Root::Path(RemotePath::root())),
            rewrites: Vec::new(),
            required: Default::default(),
            greeting: None,
        }]),
        backends: HashMap::from([("files".to_owned(), backend)]),
        policy: None,
        policy_limits: Default::default(),
        expected: Default::default(),
        limits: Limits::default(),
        metrics: metrics(),
        audit: Default::default(),
    };
    let peer = "127.0.0.1:1".parse().expect("an address");
    let client = ClientInfo::new("front", "sftp", Endpoints { peer, local: peer }, &Drain::new());
    let password = zeroize::Zeroizing::new(b"me@example.com".to_vec());
    let proof = Proof::password(USER.to_vec(), password.into());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    gateway.login(&client, proof, deadline).await.expect("the login")
}

fn of_a_small_file(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("small"), [7; 1024]).expect("writing the file");
    let session = Arc::new(runtime.block_on(session(folder.path())));
    let path = RemotePath::resolve(&RemotePath::root(), b"small").expect("a path");
    let mode = OpenMode { read: true, ..OpenMode::default() };
    criterion.bench_function("a file of 1 KiB, with its metrics", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let file = session.open(path.clone(), mode).await.expect("the file");
                let bytes = file.read_at(0, 4096).await.expect("its bytes");
                assert_eq!(bytes.map(|bytes| bytes.len()), Some(1024));
                file.close().await.expect("its end");
            });
        });
    });
}

criterion_group!(benches, of_one_transfer, of_a_small_file);
criterion_main!(benches);
