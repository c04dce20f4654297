//! The mixed load on Tokio: heavy requests go to spawn_blocking, as its documentation says for work that computes.
//! PBKDF2 is OpenSSL's, as in the servers in C++.

use std::net::SocketAddr;
use std::os::raw::{c_char, c_int, c_void};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

#[link(name = "crypto")]
extern "C" {
    fn EVP_sha256() -> *const c_void;
    fn PKCS5_PBKDF2_HMAC(
        password: *const c_char,
        password_size: c_int,
        salt: *const u8,
        salt_size: c_int,
        rounds: c_int,
        digest: *const c_void,
        key_size: c_int,
        key: *mut u8,
    ) -> c_int;
}

type Frame = [u8; 16];

fn derive_key(request: Frame, rounds: u32) -> Frame {
    let mut key = Frame::default();
    // Sound: the pointers are to live memory of the sizes that are said.
    let good = unsafe {
        PKCS5_PBKDF2_HMAC(
            b"weft".as_ptr() as *const c_char,
            4,
            request[4..].as_ptr(),
            12,
            rounds as c_int,
            EVP_sha256(),
            16,
            key.as_mut_ptr(),
        )
    };
    assert_eq!(good, 1);
    key
}

async fn serve(mut client: TcpStream) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut request = Frame::default();
    loop {
        client.read_exact(&mut request).await?;
        let rounds = u32::from_le_bytes([request[0], request[1], request[2], request[3]]);
        let answer = match rounds {
            0 => request,
            _ => tokio::task::spawn_blocking(move || derive_key(request, rounds)).await?,
        };
        client.write_all(&answer).await?;
    }
}

async fn accept(port: u16) -> std::io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    eprintln!("serving {}", listener.local_addr()?);
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(serve(client));
    }
}

fn main() -> std::io::Result<()> {
    let number = |index| std::env::args().nth(index).and_then(|text| text.parse::<usize>().ok());
    let port = number(1).unwrap_or(0) as u16;
    let threads = number(2).unwrap_or(1);
    Builder::new_multi_thread().worker_threads(threads).enable_io().build()?.block_on(accept(port))
}
