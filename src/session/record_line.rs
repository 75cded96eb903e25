//! The format of records in the log.

/// A record: the session, the fields of the event, and the failure.
macro_rules! record_line {
    (
        ($level:expr, $event:expr, $info:expr, $failure:expr),
        { $($fields:tt)* },
        $($message:tt)+
    ) => {{
        let failure: Option<&$crate::op::Failure> = $failure;
        tracing::event!(
            target: "lockgate::record",
            $level,
            event = $event,
            session = $info.session,
            peer = %$info.peer,
            listener = $info.listener,
            protocol = $info.protocol,
            user = $info.user(),
            backend = $info.backend(),
            $($fields)*
            fault = failure.map(|f| f.fault.as_str()),
            reason = failure.map(|f| f.message.as_str()),
            detail = failure.and_then(|f| f.detail.as_deref()),
            $($message)+
        )
    }};
}

pub(super) use record_line;
