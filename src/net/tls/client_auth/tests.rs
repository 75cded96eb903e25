//! Tests of which certificates of clients are accepted.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use std::slice::from_ref;

use rustls::pki_types::UnixTime;
use time::{Duration, OffsetDateTime};

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn root(name: &str) -> Issuer {
    Issuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap()
}

fn client(issuer: &Issuer, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = params("alice");
    change(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

fn load_authorities(pems: &[String]) -> Result<Vec<Authority>, AuthorityError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pems.concat()).unwrap();
    Authority::load(file.path())
}

fn authorities(issuers: &[&Issuer]) -> Vec<Authority> {
    let pems: Vec<_> = issuers.iter().map(|issuer| issuer.pem()).collect();
    load_authorities(&pems).unwrap()
}

/// Issued and due so many days from now.
fn crl(issuer: &Issuer, revoked: &[u64], (from, until): (i64, i64)) -> Crl {
    let at = |days: i64| OffsetDateTime::now_utc() + Duration::days(days);
    let revoked = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: at(from),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: at(from),
        next_update: at(until),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let pem = params.signed_by(issuer).unwrap().pem().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    Crl::load(file.path()).unwrap().remove(0)
}

fn serial(serial: u64) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.serial_number = Some(SerialNumber::from(serial))
}

fn verify(
    (authorities, crls): (&[Authority], &[Crl]),
    certificate: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), String> {
    let lists = (crls, Vec::new());
    let auth = ClientAuth::new(authorities, lists, true, CertificateUser::CommonName).unwrap();
    verify_with(&*auth.verifier(), certificate, intermediates)
}

fn verify_with(
    verifier: &dyn ClientCertVerifier,
    certificate: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), String> {
    let verified = verifier.verify_client_cert(certificate, intermediates, UnixTime::now());
    verified.map(|_| ()).map_err(|error| {
        let error = std::io::Error::other(error);
        RefusedCertificate::of(&error).unwrap().to_string()
    })
}

#[track_caller]
fn refused(outcome: Result<(), String>, why: &str) {
    let reason = outcome.unwrap_err();
    assert!(reason.contains(why), "{reason}");
    assert!(
        reason.starts_with("the client's certificate, \"") && reason.contains("SHA-256 "),
        "{reason}"
    );
}

#[test]
fn only_valid_certificates_of_the_authorities_are_accepted() {
    let (own, other) = (root("partners"), root("partners"));
    let trusted = authorities(&[&own]);
    let with =
        |change: fn(&mut CertificateParams)| verify((&trusted, &[]), &client(&own, change), &[]);
    assert_eq!(with(|_| {}), Ok(()));
    assert_eq!(
        with(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        Ok(())
    );
    refused(
        with(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        "was not issued for clients",
    );
    refused(with(|it| it.not_after = date_time_ymd(2021, 1, 1)), "has expired");
    refused(with(|it| it.not_before = date_time_ymd(2119, 1, 1)), "is not valid yet");
    refused(
        verify((&trusted, &[]), &client(&other, |_| {}), &[]),
        "no authority of `tls.client_ca`",
    );
    let stranger = client(&root("strangers"), |_| {});
    refused(verify((&trusted, &[]), &stranger, &[]), "no authority of `tls.client_ca`");
    // A client's certificate issues nothing.
    let leaf = Issuer::signed_by(params("leaf"), KeyPair::generate().unwrap(), &own).unwrap();
    let forged = client(&leaf, |_| {});
    refused(verify((&trusted, &[]), &forged, &[leaf.der().clone()]), "the client's certificate");
}

#[test]
fn revoked_certificates_and_old_lists_are_refused() {
    let own = root("partners");
    let trusted = authorities(&[&own]);
    let (revoked, good) = (client(&own, serial(7)), client(&own, serial(8)));
    let list = crl(&own, &[7], (-1, 7));
    assert_eq!(verify((&trusted, from_ref(&list)), &good, &[]), Ok(()));
    refused(verify((&trusted, from_ref(&list)), &revoked, &[]), "is revoked (tls.client_crl)");
    let old = crl(&own, &[], (-9, -2));
    refused(verify((&trusted, from_ref(&old)), &good, &[]), "(tls.client_crl) has expired");
    // The newest counts, in whatever order they are given.
    for lists in [[old.clone(), list.clone()], [list.clone(), old]] {
        refused(verify((&trusted, &lists), &revoked, &[]), "is revoked");
        assert_eq!(verify((&trusted, &lists), &good, &[]), Ok(()));
    }
    // An authority of the same name, and one without a list.
    let forged = crl(&root("partners"), &[], (-1, 7));
    refused(verify((&trusted, &[forged]), &revoked, &[]), "has a wrong signature");
    let second = root("others");
    let both = authorities(&[&own, &second]);
    let without = client(&second, |_| {});
    refused(
        verify((&both, &[list]), &without, &[]),
        "no list of `tls.client_crl` is from its issuer",
    );
}

#[test]
fn a_changed_list_is_read_again_unless_it_is_unusable() {
    let (own, other) = (root("partners"), root("others"));
    let trusted = authorities(&[&own]);
    let (seven, eight) = (client(&own, serial(7)), client(&own, serial(8)));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("partners.crl");
    // As authorities' tools do: the new file replaces the old one.
    let write = |bytes: &[u8]| {
        let new = folder.path().join("new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    let first = crl(&own, &[], (-1, 7));
    write(&first.der);
    let lists = (&[first][..], vec![file.clone()]);
    let mut auth = ClientAuth::new(&trusted, lists, true, CertificateUser::CommonName).unwrap();
    Arc::get_mut(&mut auth.verifier).unwrap().lists.check_always();
    let verifier = auth.verifier();
    let accepts = |certificate| verify_with(&*verifier, certificate, &[]);
    assert_eq!((accepts(&seven), accepts(&eight)), (Ok(()), Ok(())));
    write(&crl(&own, &[7], (-1, 7)).der);
    refused(accepts(&seven), "is revoked");
    assert_eq!(accepts(&eight), Ok(()));
    for unusable in [&b"rubbish"[..], b"", &crl(&other, &[], (-1, 7)).der] {
        write(unusable);
        refused(accepts(&seven), "is revoked");
        assert_eq!(accepts(&eight), Ok(()));
    }
    std::fs::remove_file(&file).unwrap();
    refused(accepts(&seven), "is revoked");
    write(&crl(&own, &[8], (-1, 7)).der);
    assert_eq!(accepts(&seven), Ok(()));
    refused(accepts(&eight), "is revoked");
}

#[test]
fn an_intermediate_authority_can_be_revoked_by_its_own() {
    let own = root("partners");
    let mut issuing = authority("issuing");
    issuing.serial_number = Some(SerialNumber::from(5_u64));
    let issuing = Issuer::signed_by(issuing, KeyPair::generate().unwrap(), &own).unwrap();
    let certificate = client(&issuing, serial(9));
    // The client sends it, or the file has it, as a trusted one or between.
    let root_only = authorities(&[&own]);
    assert_eq!(verify((&root_only, &[]), &certificate, &[issuing.der().clone()]), Ok(()));
    refused(verify((&root_only, &[]), &certificate, &[]), "did not send the certificates between");
    assert_eq!(verify((&authorities(&[&issuing]), &[]), &certificate, &[]), Ok(()));
    let both = authorities(&[&issuing, &own]);
    assert_eq!(verify((&both, &[]), &certificate, &[]), Ok(()));
    let lists = |revoked: &[u64]| [crl(&issuing, &[], (-1, 7)), crl(&own, revoked, (-1, 7))];
    assert_eq!(verify((&both, &lists(&[])), &certificate, &[]), Ok(()));
    refused(verify((&both, &lists(&[5])), &certificate, &[]), "is revoked");
    refused(verify((&both, &lists(&[])[..1]), &certificate, &[]), "no list of `tls.client_crl`");
}

/// Of the same name and key, so that it has issued all that the earlier one has.
#[test]
fn a_renewed_intermediate_authority_accepts_what_was_verified_before_it() {
    let days_ago = |days: i64| OffsetDateTime::now_utc() - Duration::days(days);
    let own = root("partners");
    let key = KeyPair::generate().unwrap();
    let same_key = KeyPair::from_pem(&key.serialize_pem()).unwrap();
    let old = Issuer::signed_by(authority("issuing"), key, &own).unwrap();
    let mut renewed = authority("issuing");
    renewed.not_before = days_ago(1);
    let renewed = Issuer::signed_by(renewed, same_key, &own).unwrap();
    let auth = |issuers: &[&Issuer], crls: &[Crl]| {
        let lists = (crls, Vec::new());
        ClientAuth::new(&authorities(issuers), lists, true, CertificateUser::CommonName).unwrap()
    };
    let verified = |change: fn(&mut CertificateParams)| {
        let certificate = client(&old, change);
        let mut earlier = auth(&[&old, &own], &[]).verified(&[certificate]).unwrap();
        let ten_days_ago = days_ago(10).unix_timestamp().try_into().unwrap();
        earlier.verified = UnixTime::since_unix_epoch(std::time::Duration::from_secs(ten_days_ago));
        earlier
    };
    let earlier = verified(|params| params.serial_number = Some(SerialNumber::from(9_u64)));
    assert!(auth(&[&renewed, &own], &[]).verified_again(&earlier).is_ok());
    // Neither now nor then.
    let lists = [crl(&renewed, &[9], (-20, 7)), crl(&own, &[], (-20, 7))];
    let reason = auth(&[&renewed, &own], &lists).verified_again(&earlier).unwrap_err();
    assert!(reason.contains("is revoked"), "{reason}");
    let reason = auth(&[&root("others")], &[]).verified_again(&earlier).unwrap_err();
    assert!(reason.contains("no authority of"), "{reason}");
    // As it was before.
    let expired =
        verified(|params| params.not_after = OffsetDateTime::now_utc() - Duration::days(1));
    assert!(auth(&[&old, &own], &[]).verified_again(&expired).is_ok());
}

#[test]
fn files_that_hold_something_else_are_errors() {
    let own = root("partners");
    let key = KeyPair::generate().unwrap();
    let leaf = params("alice").self_signed(&key).unwrap();
    let error = load_authorities(&[own.pem(), leaf.pem()]).unwrap_err().to_string();
    assert!(
        error.contains("the certificate of \"CN=alice") && error.contains("is not an authority's"),
        "{error}"
    );
    let mut signs_nothing = authority("signs nothing");
    signs_nothing.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let error = load_authorities(&[signs_nothing.self_signed(&key).unwrap().pem()]).unwrap_err();
    assert!(matches!(error, AuthorityError::NotAnAuthority { .. }), "{error}");
    assert!(matches!(load_authorities(&[key.serialize_pem()]), Err(AuthorityError::Pem(_))));
    let file = tempfile::NamedTempFile::new().unwrap();
    for wrong in [own.pem().into_bytes(), leaf.der().to_vec(), Vec::new(), b"rubbish".to_vec()] {
        std::fs::write(file.path(), wrong).unwrap();
        assert!(matches!(Crl::load(file.path()), Err(AuthorityError::NoCrl(_))));
    }
    let list = crl(&own, &[], (-1, 7));
    std::fs::write(file.path(), &list.der).unwrap();
    assert!(authorities(&[&own])[0].has_issued(&Crl::load(file.path()).unwrap()[0]));
}
