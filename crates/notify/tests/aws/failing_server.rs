//! An HTTP server with one response for all requests.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the server does with each request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// The status line, more header lines, and the body.
    Response { status: u16, headers: String, body: String },
    /// Never anything.
    Silence,
    /// Closes the connection.
    Close,
    /// A body that does not end.
    Endless,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self::Response { status, headers: String::new(), body: body.into() }
    }
}

pub(crate) struct FailingServer {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for FailingServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FailingServer {
    /// Responds to the requests in turn; the last response is for all further requests.
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(respond(stream, answers.clone(), seen.clone()));
            }
        });
        Self { url, requests, task }
    }

    /// The complete requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn respond(mut stream: TcpStream, answers: Vec<Answer>, seen: Arc<Mutex<Vec<String>>>) {
    let Some(request) = read_request(&mut stream).await else { return };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request);
        seen.len() - 1
    };
    match answers[number.min(answers.len() - 1)].clone() {
        Answer::Response { status, headers, body } => {
            let head = format!(
                "HTTP/1.1 {status} status\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
        Answer::Silence => std::future::pending().await,
        Answer::Close => {}
        Answer::Endless => {
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n<PublishResponse>";
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&[b' '; 16_384]).await.is_ok() {}
        }
    }
}

/// A request with the length of its body, or `None` if the connection ends.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase();
        let length = length.split("content-length: ").nth(1).unwrap_or("0");
        let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
        if body.len() >= length {
            return Some(text.into_owned());
        }
    }
}
