//! Futures of other libraries run here: sockets of `async-net`, timers of `async-io`, channels of tokio.

#![cfg(not(miri))]

use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt};
use midair_executor::{Executor, LocalExecutor, spawn_local};

#[test]
fn a_socket_of_async_net_echoes_on_workers() {
    let executor = Executor::new(2);
    let answer = executor.block_on(async {
        let listener = async_net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = executor.spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).await.expect("five bytes");
            stream.write_all(&bytes).await.expect("room");
        });
        let client = executor.spawn(async move {
            let mut stream = async_net::TcpStream::connect(address)
                .await
                .expect("a server");
            stream.write_all(b"hello").await.expect("room");
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).await.expect("five bytes");
            bytes
        });
        server.await.expect("no panic");
        client.await.expect("no panic")
    });
    assert_eq!(&answer, b"hello");
}

#[test]
fn a_timer_of_async_io_wakes_a_local_task() {
    let executor = LocalExecutor::new();
    let start = Instant::now();
    executor.block_on(async {
        let task = spawn_local(async { async_io::Timer::after(Duration::from_millis(2)).await });
        task.await.expect("no panic");
    });
    assert!(start.elapsed() >= Duration::from_millis(2));
}

#[test]
fn a_channel_of_tokio_works_between_our_tasks() {
    let executor = Executor::new(2);
    let (sender, mut receiver) = tokio::sync::mpsc::channel(2);
    let producer = executor.spawn(async move {
        for number in 0..100 {
            sender.send(number).await.expect("someone waits");
        }
    });
    let consumer = executor.spawn(async move {
        let mut sum = 0;
        while let Some(number) = receiver.recv().await {
            sum += number;
        }
        sum
    });
    assert_eq!(executor.block_on(consumer).expect("no panic"), 4950);
    executor.block_on(producer).expect("no panic");
}

#[test]
fn a_task_of_ours_is_awaited_under_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let executor = Executor::new(1);
    let value = runtime.block_on(async {
        let task = executor.spawn(async {
            midair_executor::time::sleep(Duration::from_millis(1)).await;
            3
        });
        tokio::time::timeout(Duration::from_secs(30), task)
            .await
            .expect("in time")
    });
    assert_eq!(value.expect("no panic"), 3);
}
