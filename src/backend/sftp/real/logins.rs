//! User keys and host keys, and a killed server.

use super::*;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn logins_by_user_key_and_known_host_key() {
    let sshd = Sshd::start();
    for key in ["user", "user_rsa"] {
        let session = SftpBackend::new(
            sshd.settings(),
            &Connectors::for_test(),
            &IgnoredAttributes::for_test(),
        )
        .login(&sshd.login(key), Origin::ANY)
        .await
        .unwrap();
        assert!(!session.home().path().is_root());
        let abilities = session.abilities();
        assert!(abilities.file_system && abilities.sync && abilities.hard_link);
        session.close().await;
    }
    let refused = sshd.refusal(sshd.settings(), "host").await;
    assert_eq!(refused.kind, FailureKind::LoginRefused, "{refused:?}");

    let wrong = HostKey::Fingerprints(vec!["SHA256:AAAA".to_owned()]);
    let refused = sshd.refusal(Settings { host_key: wrong, ..sshd.settings() }, "user").await;
    assert_eq!(refused.kind, FailureKind::Unavailable);
    assert!(refused.message.contains("host key"), "{refused:?}");
    assert!(refused.detail.unwrap().contains(&sshd.fingerprint()));

    // The pinned key is not the first one that the server presents.
    let ecdsa =
        HostKey::Fingerprints(vec![fingerprint(&sshd.folder.path().join("host_ecdsa.pub"))]);
    let backend = SftpBackend::new(
        Settings { host_key: ecdsa, ..sshd.settings() },
        &Connectors::for_test(),
        &IgnoredAttributes::for_test(),
    );
    for _ in 0..2 {
        backend.login(&sshd.login("user"), Origin::ANY).await.unwrap().close().await;
    }

    // Only the second key is known, so it must be requested. The name is hashed by ssh-keygen.
    let key = std::fs::read_to_string(sshd.folder.path().join("host_ecdsa.pub")).unwrap();
    let file = sshd.folder.path().join("known_hosts");
    std::fs::write(&file, format!("[127.0.0.1]:{} {key}", sshd.port)).unwrap();
    run(Command::new("ssh-keygen").args(["-H", "-f"]).arg(&file).stderr(Stdio::null()));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("|1|"), "{text}");
    let host_key = HostKey::KnownHosts(KnownHosts::parse(&text).unwrap());
    let settings = Settings { host_key, ..sshd.settings() };
    SftpBackend::new(settings, &Connectors::for_test(), &IgnoredAttributes::for_test())
        .login(&sshd.login("user"), Origin::ANY)
        .await
        .unwrap();

    let unreachable = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let settings = Settings { addresses: vec![unreachable.clone()], ..sshd.settings() };
    assert_eq!(sshd.refusal(settings, "user").await.kind, FailureKind::Unavailable);
    let addresses = vec![unreachable, format!("localhost:{}", sshd.port)];
    let settings = Settings { addresses, ..sshd.settings() };
    SftpBackend::new(settings, &Connectors::for_test(), &IgnoredAttributes::for_test())
        .login(&sshd.login("user"), Origin::ANY)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn a_killed_server_fails_transfers_and_requests() {
    let mut sshd = Sshd::start();
    let session = sshd.session().await;
    let content = pattern(50_000_000);
    std::fs::write(sshd.file("file"), &content).unwrap();
    let mut transfer =
        session.open_read(&read(&sshd.path("file"), 0, Representation::Image)).await.unwrap();
    let Source::Reader(reader) = transfer.source() else { unreachable!() };
    reader.read_exact(&mut [0; 1000]).await.unwrap();
    // The listener and its session processes.
    let children = format!("pgrep -P {}", sshd.child.id());
    let children = Command::new("sh").args(["-c", &children]).output().unwrap().stdout;
    let children = String::from_utf8(children).unwrap();
    for child in children.split_whitespace() {
        run(Command::new("kill").args(["-9", child]));
    }
    sshd.child.kill().unwrap();
    let mut rest = Vec::new();
    let all = tokio::time::timeout(Duration::from_secs(10), reader.read_to_end(&mut rest));
    assert!(all.await.unwrap().is_err());
    assert_eq!(transfer.abort().await.unwrap().kind, FailureKind::Unavailable);
    let stat = perform(&*session, Operation::Stat(sshd.path("file"))).await.unwrap_err();
    assert_eq!(stat.kind, FailureKind::Unavailable);
}
