//! What bulk and distance cost.

use super::*;

/// Prints what one GiB takes; the CPU seconds are this process's.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd, and 2 GiB of disk"]
async fn a_gibibyte_each_way() {
    const LENGTH: u64 = 1 << 30;
    let sshd = Sshd::start();
    let session = sshd.session().await;
    let block = Bytes::from(pattern(1 << 20));
    {
        use std::io::Write;
        let mut file = std::fs::File::create(sshd.file("file")).unwrap();
        (0..1024).for_each(|_| file.write_all(&block).unwrap());
    }
    let report = |what: &str, started: (Instant, f64)| {
        let (seconds, cpu) = (started.0.elapsed().as_secs_f64(), cpu() - started.1);
        println!("{what}: {:.0} MiB/s, {cpu:.2} CPU s", 1024.0 / seconds);
    };
    let start = || (Instant::now(), cpu());

    let started = start();
    let target = read(&sshd.path("file"), 0, Representation::Image);
    let mut transfer = session.open_read(&target).await.unwrap();
    let Source::Reader(reader) = transfer.source() else { unreachable!() };
    let mut buffer = vec![0; 64 * 1024];
    let mut done = 0;
    loop {
        let n = reader.read(&mut buffer).await.unwrap();
        if n == 0 {
            break;
        }
        let at = done % block.len();
        let n1 = n.min(block.len() - at);
        assert!(buffer[..n1] == block[at..at + n1] && buffer[n1..n] == block[..n - n1]);
        done += n;
    }
    assert_eq!(done as u64, LENGTH);
    transfer.finish().await.unwrap();
    report("open_read", started);

    let started = start();
    let target = write(&sshd.path("copy"), WriteMode::From { offset: 0 });
    let mut transfer = session.open_write(&target).await.unwrap();
    for _ in 0..1024 {
        feed(&mut *transfer, &block).await;
    }
    transfer.finish().await.unwrap();
    report("open_write", started);
    assert!(same(&sshd.file("file"), &sshd.file("copy")));

    for length in [32_768u32, 261_120] {
        let started = start();
        let mode = OpenMode { read: true, ..OpenMode::default() };
        let target = Target::for_test(Operation::Open { path: sshd.path("file"), mode });
        let file = session.open(&target).await.unwrap();
        let mut under_way = FuturesOrdered::new();
        let (mut asked, mut done) = (0u64, 0usize);
        while (done as u64) < LENGTH {
            while under_way.len() < 64.min((4 << 20) / length as usize) && asked < LENGTH {
                under_way.push_back(file.read_at(asked, length));
                asked += u64::from(length);
            }
            let bytes = under_way.next().await.unwrap().unwrap().unwrap();
            let at = done % block.len();
            let n = bytes.len().min(block.len() - at);
            assert!(bytes[..n] == block[at..at + n] && bytes[n..] == block[..bytes.len() - n]);
            done += bytes.len();
        }
        file.close().await.unwrap();
        report(&format!("read_at {length}"), started);

        let started = start();
        let mode = OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() };
        let target = Target::for_test(Operation::Open { path: sshd.path("copy"), mode });
        let file = session.open(&target).await.unwrap();
        let mut under_way = FuturesOrdered::new();
        let mut at = 0;
        while at < LENGTH {
            while under_way.len() >= 64.min((4 << 20) / length as usize) {
                let done: Result<(), Failure> = under_way.next().await.unwrap();
                done.unwrap();
            }
            let within = at as usize % block.len();
            let n = (length as usize).min(block.len() - within);
            under_way.push_back(file.write_at(at, block.slice(within..within + n)));
            at += n as u64;
        }
        while let Some(done) = under_way.next().await {
            done.unwrap();
        }
        file.close().await.unwrap();
        report(&format!("write_at {length}"), started);
        assert!(same(&sshd.file("file"), &sshd.file("copy")));
    }
}

fn same(one: &Path, other: &Path) -> bool {
    Command::new("cmp").arg(one).arg(other).status().unwrap().success()
}

/// User and system seconds of this process (proc(5), /proc/pid/stat), in ticks of 10 ms.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Delays each direction by 25 ms without limiting the rate.
async fn far(port: u16) -> u16 {
    use tokio::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relayed = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            // What is late here must not be late a second time, for an acknowledgement.
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let ((a, b), (c, d)) = (near.into_split(), far.into_split());
            for (mut from, mut to) in [(a, d), (c, b)] {
                let (late, mut due) = tokio::sync::mpsc::unbounded_channel();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 256 * 1024];
                    while let Ok(n @ 1..) = from.read(&mut buffer).await {
                        let at = tokio::time::Instant::now() + Duration::from_millis(25);
                        let _ = late.send((at, buffer[..n].to_vec()));
                    }
                });
                tokio::spawn(async move {
                    while let Some((at, bytes)) = due.recv().await {
                        tokio::time::sleep_until(at).await;
                        if to.write_all(&bytes).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
    });
    relayed
}

/// Prints what a file takes over 50 ms of round trip. 2 MiB under way, as sftp has it, are 40 MiB/s.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn far_away() {
    let sshd = Sshd::start();
    let port = far(sshd.port).await;
    let settings = Settings { addresses: vec![format!("127.0.0.1:{port}")], ..sshd.settings() };
    let session = SftpBackend::new(settings).login(&sshd.login("user"), Origin::ANY).await.unwrap();
    let content = pattern(128 << 20);
    std::fs::write(sshd.file("file"), &content).unwrap();
    let rate = |what: &str, started: Instant| {
        println!("{what}: {:.0} MiB/s", 128.0 / started.elapsed().as_secs_f64());
    };
    let started = Instant::now();
    let target = read(&sshd.path("file"), 0, Representation::Image);
    let all = get(&*session, &target).await.unwrap();
    rate("open_read", started);
    assert!(all == content);

    let started = Instant::now();
    let target = write(&sshd.path("copy"), WriteMode::From { offset: 0 });
    put(&*session, &target, &content).await;
    rate("open_write", started);

    let started = Instant::now();
    let mode = OpenMode { read: true, ..OpenMode::default() };
    let target = Target::for_test(Operation::Open { path: sshd.path("file"), mode });
    let file = session.open(&target).await.unwrap();
    let mut under_way = FuturesOrdered::new();
    let (mut asked, mut done) = (0u64, 0usize);
    while done < content.len() {
        while under_way.len() < 64 && asked < content.len() as u64 {
            under_way.push_back(file.read_at(asked, 32_768));
            asked += 32_768;
        }
        let bytes = under_way.next().await.unwrap().unwrap().unwrap();
        assert!(bytes[..] == content[done..done + bytes.len()]);
        done += bytes.len();
    }
    rate("read_at, 64 of 32 KiB", started);

    std::fs::write(sshd.file("small"), &content[..4096]).unwrap();
    let (mut gets, mut puts) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let started = Instant::now();
        let target = read(&sshd.path("small"), 0, Representation::Image);
        assert_eq!(get(&*session, &target).await.unwrap().len(), 4096);
        gets.push(started.elapsed());
        let started = Instant::now();
        let target = write(&sshd.path("small"), WriteMode::From { offset: 0 });
        put(&*session, &target, &content[..4096]).await;
        puts.push(started.elapsed());
    }
    println!("small gets {gets:?}, small puts {puts:?}");
    // Two round trips; the best of five, since machines have other work too.
    let best = |times: Vec<Duration>| times.into_iter().min().unwrap();
    assert!(best(gets) < Duration::from_millis(145) && best(puts) < Duration::from_millis(145));
}
