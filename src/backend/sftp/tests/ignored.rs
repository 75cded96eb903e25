//! Attributes that a server cannot set (`unsupported_attributes: ignore`).

use super::*;
use crate::backend::IgnoredAttributes;
use crate::backend::unsupported::AttributePolicy;
use crate::op::Changes;
use crate::route::Target;

#[tokio::test]
async fn only_unsupported_attributes_are_ignored() {
    let owner = Changes { owner: Some((1, 1)), ..Changes::default() };
    let with_size = Changes { size: Some(1), ..owner };
    let (ignore, refuse) = (UnsupportedAttributes::Ignore, UnsupportedAttributes::Refuse);
    for (policy, code, changes, ok) in [
        (ignore, StatusCode::OP_UNSUPPORTED, owner, true),
        (ignore, StatusCode::OP_UNSUPPORTED, with_size, false),
        (ignore, StatusCode::PERMISSION_DENIED, owner, false),
        (refuse, StatusCode::OP_UNSUPPORTED, owner, false),
    ] {
        let (server, mut peer) = connected_as(&[], PartialUploads::Keep).await;
        let policy = AttributePolicy::new("scripted", policy, &IgnoredAttributes::for_test());
        let server = Arc::new(Arc::into_inner(server).unwrap().with_policy(policy));
        let session = SftpSession { server: server.clone() };
        let operation = Operation::SetAttributes { path: path("/a"), changes, follow: true };
        let target = Target::for_test(operation);
        let (set, _) = tokio::join!(session.perform(&target), peer.serve(status(code, "no")));
        assert_eq!(set.is_ok(), ok, "{code:?} {changes:?}: {set:?}");
        let file = opened(&server, &mut peer, new_file()).await;
        let (set, _) = tokio::join!(file.set_attributes(&changes), peer.serve(status(code, "no")));
        assert_eq!(set.is_ok(), ok, "{code:?} {changes:?}: {set:?}");
    }
}
