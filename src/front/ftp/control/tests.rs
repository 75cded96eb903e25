//! What is heard around the end of a transfer.

use super::*;
use crate::net::poll_once;
use tokio::net::TcpListener;

/// One thread: between the client's end and the question nothing asks the kernel for events.
#[tokio::test]
async fn an_upload_is_cut_where_only_the_kernel_knows_that_the_client_is_gone() {
    for (last_words, gone) in [(&b""[..], true), (b"NOOP\r\n", true), (b"QUIT\r\n", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut control = Control::new(Stream::Plain(listener.accept().await.unwrap().0), false);
        assert!(poll_once(control.arriving_line()).is_none());
        std::io::Write::write_all(&mut client, last_words).unwrap();
        client.shutdown(std::net::Shutdown::Both).unwrap();
        let whole = async { Ok(()) };
        let progress = Progress::default();
        let end = control.during(whole, &progress, true, &Drain::default()).await;
        assert_eq!(matches!(end, Err(Cut::Gone)), gone, "{}", last_words.escape_ascii());
    }
}

#[tokio::test]
async fn an_upload_is_cut_where_its_client_is_reset_before_the_answer_to_stat() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut control = Control::new(Stream::Plain(listener.accept().await.unwrap().0), false);
    std::io::Write::write_all(&mut client, b"STAT\r\n").unwrap();
    // Dropped, it is reset.
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let (progress, drain) = (Progress::default(), Drain::default());
    let end = control.confirm_upload(async { Ok(()) }, &progress, &drain).await;
    assert!(matches!(end, Err(Cut::Gone)));
}

#[tokio::test]
async fn nothing_is_waited_for_once_the_client_has_gone() {
    for (last_words, gone) in [(&b""[..], true), (b"NO", true), (b"NOOP\r\n", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut control = Control::new(Stream::Plain(listener.accept().await.unwrap().0), false);
        let (done, work) = tokio::sync::oneshot::channel();
        let mut waiting = pin!(control.while_there(work));
        assert!(poll_once(waiting.as_mut()).is_none());
        std::io::Write::write_all(&mut client, last_words).unwrap();
        drop(client);
        if gone {
            assert!(waiting.await.is_none());
            assert!(done.is_closed() || done.send(()).is_err());
        } else {
            let late = timeout(Duration::from_millis(50), waiting.as_mut()).await;
            assert!(late.is_err());
            done.send(()).unwrap();
            assert!(waiting.await.is_some());
        }
    }
}

#[tokio::test]
async fn an_upload_of_a_client_that_is_there_is_whole() {
    for words in [&b""[..], b"NOOP\r\n", b"NO"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut control = Control::new(Stream::Plain(listener.accept().await.unwrap().0), false);
        std::io::Write::write_all(&mut client, words).unwrap();
        let whole = async { Ok(()) };
        let progress = Progress::default();
        let end = control.during(whole, &progress, true, &Drain::default()).await;
        assert!(end.is_ok(), "{}", words.escape_ascii());
    }
}
