//! Required methods, certificates, and certificates that the gateway signs.

use std::sync::Arc;

use russh::keys::PrivateKey;
use russh::keys::ssh_key::certificate::Builder;
use tokio::net::TcpStream;

use super::*;
use crate::auth::{CertificateAuthority, KeyTrust, Methods, PublicKeys, RevokedFile};
use crate::route::{AccountName, MintedAccount};
use crate::session::{ListenerDemands, LiveSessions};

fn private(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn presented(seed: u8) -> PresentedKey {
    PresentedKey::Key(private(seed).public_key().clone())
}

/// With the password "open sesame" and the key 1; what is required of her and of all on the route.
fn with_alice(account: Account, user: Methods, route: Methods) -> (Gateway, Answering) {
    let line = private(1).public_key().to_openssh().unwrap();
    let keys = AuthorizedKeys::parse(&line).unwrap();
    let mut gateway = gateway(Access::of_users(account));
    let alice = User {
        password_hash: Some(Arc::new(PasswordHash::parse(&hash(1)).unwrap())),
        keys,
        required: user,
        ..User::default()
    };
    let users = UserTable::new(HashMap::from([(b"alice".to_vec(), alice)]));
    gateway.passwords = Arc::new(PasswordCheck::new(users));
    gateway.routes.0[0].required = route;
    let backend = Answering::default();
    gateway.backends =
        HashMap::from([("files".to_owned(), Arc::new(backend.clone()) as Arc<dyn Backend>)]);
    (gateway, backend)
}

fn sftp_client() -> ClientInfo {
    ClientInfo { protocol: "sftp", ..client_info() }
}

fn proof(user: &str, password: Option<&str>, key: Option<PresentedKey>) -> Proof {
    let password = password.map(|text| Zeroizing::new(text.as_bytes().to_vec()).into());
    Proof { user: user.as_bytes().to_vec(), password, key: key.map(Box::new) }
}

async fn outcome(gateway: &Gateway, client: &ClientInfo, proof: Proof) -> Result<(), FailureKind> {
    let deadline = Instant::now() + Duration::from_secs(60);
    match gateway.login(client, proof, deadline).await {
        Ok(_) => Ok(()),
        Err(failure) => {
            if failure.kind == FailureKind::LoginRefused {
                assert_eq!(failure.message, "login incorrect");
            }
            Err(failure.kind)
        }
    }
}

#[tokio::test]
async fn what_is_required_of_the_user_and_by_the_route_adds_up() {
    const REFUSED: Result<(), FailureKind> = Err(FailureKind::LoginRefused);
    const MORE: Result<(), FailureKind> = Err(FailureKind::MethodNeeded);
    const OK: Result<(), FailureKind> = Ok(());
    let (none, key, password, all) =
        (Methods::NONE, Methods::PUBLIC_KEY, Methods::PASSWORD, Methods::ALL);
    for (user, route, by_key, by_password, by_both) in [
        (none, none, OK, OK, OK),
        (key, none, OK, REFUSED, OK),
        (none, key, OK, REFUSED, OK),
        (password, none, REFUSED, OK, REFUSED),
        (all, none, MORE, MORE, OK),
        (none, all, MORE, MORE, OK),
        (key, password, MORE, MORE, OK),
    ] {
        let (gateway, _) = with_alice(Account::None, user, route);
        let login = async |name: &str, password: Option<&str>, key: Option<u8>| {
            let proof = proof(name, password, key.map(presented));
            outcome(&gateway, &sftp_client(), proof).await
        };
        let right = Some("open sesame");
        let what = format!("{user} {route}");
        assert_eq!(login("alice", None, Some(1)).await, by_key, "{what}");
        assert_eq!(login("alice", right, None).await, by_password, "{what}");
        assert_eq!(login("alice", right, Some(1)).await, by_both, "{what}");
        // A wrong one spoils what is right.
        for (name, password, key) in [
            ("alice", Some("wrong"), None),
            ("alice", Some("wrong"), Some(1)),
            ("alice", right, Some(2)),
            ("alice", None, Some(2)),
            ("alice", None, None),
            ("bob", right, Some(1)),
        ] {
            assert_eq!(login(name, password, key).await, REFUSED, "{what} {name} {password:?}");
        }
    }
}

/// `on_reload: judge`. What is not required and not revoked goes on.
#[tokio::test]
async fn open_sessions_are_judged_by_what_they_have_proved() {
    let (key, password, all) = (Methods::PUBLIC_KEY, Methods::PASSWORD, Methods::ALL);
    let folder = tempfile::tempdir().unwrap();
    let revoked = folder.path().join("revoked");
    std::fs::write(&revoked, private(1).public_key().to_openssh().unwrap()).unwrap();
    let revoking =
        KeyTrust { revoked: vec![Arc::new(RevokedFile::new(revoked))], ..KeyTrust::default() };
    for (given, seed, required, (offered, trust), reason) in [
        (None, Some(1), Methods::NONE, (all, None), None),
        (None, Some(1), key, (all, None), None),
        (None, Some(1), password, (all, None), Some("password is required now")),
        (Some("open sesame"), None, key, (all, None), Some("publickey is required now")),
        (Some("open sesame"), None, Methods::NONE, (all, Some(&revoking)), None),
        (Some("open sesame"), Some(1), Methods::ALL, (all, None), None),
        (None, Some(1), Methods::NONE, (all, Some(&revoking)), Some("revoked_keys")),
        (
            None,
            Some(1),
            Methods::NONE,
            (password, None),
            Some("does not accept publickey any more"),
        ),
        (Some("open sesame"), None, Methods::NONE, (key, None), Some("accept password any more")),
        (Some("open sesame"), Some(1), Methods::NONE, (key, None), None),
        (Some("open sesame"), Some(1), Methods::ALL, (key, None), Some("password is required")),
    ] {
        let (gateway, _) = with_alice(Account::None, Methods::NONE, Methods::NONE);
        let client = sftp_client();
        let deadline = Instant::now() + Duration::from_secs(60);
        let proof = proof("alice", given, seed.map(presented));
        let _session = gateway.login(&client, proof, deadline).await.unwrap();
        let sessions = LiveSessions::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let _registered = sessions.register(&client.live, &tcp);
        let (mut next, _) = with_alice(Account::None, Methods::NONE, required);
        next.key_trust = trust.map(|it| ("front".to_owned(), it.clone())).into_iter().collect();
        let demands = ListenerDemands { methods: Some(offered), ..ListenerDemands::default() };
        let listeners = HashMap::from([("front".to_owned(), demands)]);
        Arc::new(next).judge_sessions(&sessions, listeners);
        let ending = client.live.view().ending;
        let is_expected = match (&ending, reason) {
            (Some(ending), Some(reason)) => ending.contains(reason),
            (ending, reason) => ending.is_none() && reason.is_none(),
        };
        assert!(is_expected, "{given:?} {seed:?} {required} {offered}: {ending:?}");
    }
}

/// FTP has no keys: the right password tells nothing there.
#[tokio::test]
async fn an_ftp_client_cannot_have_what_a_key_is_required_for() {
    let (gateway, backend) = with_alice(Account::None, Methods::NONE, Methods::ALL);
    let given = proof("alice", Some("open sesame"), None);
    let refused = outcome(&gateway, &client_info(), given).await;
    assert_eq!(refused, Err(FailureKind::LoginRefused));
    assert!(backend.logins.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_password_besides_the_key_is_passed_on() {
    let both = proof("alice", Some("open sesame"), Some(presented(1)));
    let (gateway, backend) = with_alice(Account::PassThrough, Methods::NONE, Methods::ALL);
    assert_eq!(outcome(&gateway, &sftp_client(), both.clone()).await, Ok(()));
    assert_eq!(*backend.logins.lock().unwrap(), ["client's alice"]);
    // Without a requirement a key is of no use there.
    let (gateway, _) = with_alice(Account::PassThrough, Methods::NONE, Methods::NONE);
    let refused = outcome(&gateway, &sftp_client(), both).await;
    assert_eq!(refused, Err(FailureKind::LoginRefused));
}

#[tokio::test]
async fn offers_are_accepted_where_they_may_be_of_certificates() {
    let (mut gateway, _) = with_alice(Account::None, Methods::NONE, Methods::NONE);
    let authority = private(9);
    let certified = |principal: &str| {
        let key = private(2);
        let mut builder = Builder::new(vec![0; 16], key.public_key(), 0, u64::MAX).unwrap();
        builder.valid_principal(principal).unwrap();
        PresentedKey::Certificate(Box::new(builder.sign(&authority).unwrap()))
    };
    let key = private(2).public_key().clone();
    let client = sftp_client();
    assert!(gateway.admits_offer(&client, b"alice", &key).await.is_err());
    assert!(gateway.admits_key(&client, b"alice", &certified("alice")).await.is_err());
    let authorities = PublicKeys::parse(&authority.public_key().to_openssh().unwrap()).unwrap();
    gateway.key_trust.insert("front".into(), KeyTrust { authorities, revoked: Vec::new() });
    // For whichever user: who exists is not to be learnt.
    for name in ["alice", "bob"] {
        assert!(gateway.admits_offer(&client, name.as_bytes(), &key).await.is_ok());
        let plain = PresentedKey::Key(key.clone());
        assert!(gateway.admits_key(&client, name.as_bytes(), &plain).await.is_err());
    }
    assert!(gateway.admits_key(&client, b"alice", &certified("alice")).await.is_ok());
    assert!(gateway.admits_key(&client, b"alice", &certified("bob")).await.is_err());
    assert!(gateway.admits_key(&client, b"bob", &certified("bob")).await.is_err());
    let elsewhere = ClientInfo { listener: "other".into(), ..sftp_client() };
    assert!(gateway.admits_key(&elsewhere, b"alice", &certified("alice")).await.is_err());
}

#[tokio::test]
async fn a_certificate_is_signed_only_for_the_user_who_was_authenticated() {
    let account = || {
        Account::Minted(MintedAccount {
            authority: CertificateAuthority::new(Arc::new(private(9))),
            user: AccountName::new("sftp-{user}"),
            principal: AccountName::new("{user}"),
            valid_for: Duration::from_secs(60),
            source_addresses: Vec::new(),
            force_command: None,
        })
    };
    let (gateway, backend) = with_alice(account(), Methods::NONE, Methods::NONE);
    let by_key = proof("alice", None, Some(presented(1)));
    assert_eq!(outcome(&gateway, &sftp_client(), by_key).await, Ok(()));
    let logins = std::mem::take(&mut *backend.logins.lock().unwrap());
    assert_eq!(logins, ["gateway's sftp-alice"]);
    for wrong in [proof("alice", None, Some(presented(2))), proof("alice", Some("wrong"), None)] {
        let refused = outcome(&gateway, &sftp_client(), wrong).await;
        assert_eq!(refused, Err(FailureKind::LoginRefused));
    }
    assert!(backend.logins.lock().unwrap().is_empty());
}
