//! An outage of S3, as operators see it: one mail that lists its exports, and one when they are in S3. With Mailpit,
//! which `.ci/real-mail` starts.

use std::{collections::BTreeMap, env, time::Duration};

use futures::future::join_all;
use serde_json::{Value, json};
use tara_export_client::proto::event::State;
use tara_export_test_support::{TestS3, http::get};

use crate::{
    following::export,
    harness::{Host, QUICK, s3::store_of, waiting::until_journal_is_empty, within},
    requests::{id, name, request},
    webhooks::{Received, Receiver, hook, notifying, until_events},
};

const EXPORTS: u32 = 30;

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run .ci/real-mail"))
}

/// The API of the Mailpit server without TLS.
struct Mailpit {
    url: String,
}

impl Mailpit {
    fn new() -> Self {
        let port = variable("TARA_TEST_MAIL_PLAIN_API");
        Self { url: format!("http://127.0.0.1:{port}") }
    }

    async fn raw(&self, path: &str) -> String {
        let (status, _, body) = get(&format!("{}{path}", self.url)).await;
        assert!(status.is_success(), "{path}: {status}");
        String::from_utf8(body.to_vec()).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.raw(path).await).unwrap()
    }

    /// The mails to this address, the oldest first.
    async fn mails_to(&self, address: &str) -> Vec<Value> {
        let found = self.get(&format!("/api/v1/search?query=to:{address}")).await;
        let mut mails = Vec::new();
        for message in found["messages"].as_array().unwrap().iter().rev() {
            let id = message["ID"].as_str().unwrap();
            mails.push(self.get(&format!("/api/v1/message/{id}")).await);
        }
        mails
    }

    /// Waits until there are that many.
    async fn until(&self, address: &str, count: usize) -> Vec<Value> {
        let mut interval = tokio::time::interval(Duration::from_millis(20));
        let waiting = async {
            loop {
                interval.tick().await;
                let mails = self.mails_to(address).await;
                if mails.len() >= count {
                    return mails;
                }
            }
        };
        within("the mails arrive", waiting).await
    }
}

#[tokio::test]
#[ignore = "needs Mailpit: .ci/real-mail"]
async fn outage_is_one_mail_and_its_end_another() {
    const TO: &str = "outage@example.com";
    let mailpit = Mailpit::new();
    let receiver = Receiver::start().await;
    let s3 = TestS3::start().await;
    let port = variable("TARA_TEST_MAIL_PLAIN_PORT");
    let mail = json!({
        "name": "operators", "kind": "email", "smtp": format!("smtp://127.0.0.1:{port}"),
        "from": "audit@example.com", "to": [TO], "digest": "10s", "include_names": true,
    });
    let host =
        notifying(Host::with_s3(store_of(&s3)), &json!([mail, hook("hook", receiver.address)]));
    let host = host.flags(&QUICK);
    let server = host.start().await;

    s3.stop();
    let exports = (1..=EXPORTS).map(|number| {
        let mut client = server.client.clone();
        async move {
            let request = request(number, &format!("report {number}.docx"));
            let followed = export(&mut client, request).await;
            assert!(followed.kinds().contains(&"fell_back".to_owned()), "{:?}", followed.kinds());
        }
    });
    join_all(exports).await;
    let mails = mailpit.until(TO, 1).await;
    let text = mails[0]["Text"].as_str().unwrap();
    assert_eq!(mails[0]["Subject"], "tara-export: 30 exports fell back to local disk", "{text}");
    for number in 1..=EXPORTS {
        assert!(text.contains(&format!("Export: {}\r\n", name(number))), "{text}");
        assert!(text.contains(&format!("Document: report {number}.docx\r\n")), "{text}");
        assert!(mails[0]["HTML"].as_str().unwrap().contains(&id(number)));
    }
    assert_eq!(text.matches("STORE_UNAVAILABLE").count(), EXPORTS as usize);

    s3.restart().await.unwrap();
    until_journal_is_empty(&host).await;
    let mails = mailpit.until(TO, 2).await;
    let text = mails[1]["Text"].as_str().unwrap();
    assert_eq!(
        mails[1]["Subject"], "tara-export: 30 exports that fell back are in S3 now",
        "{text}"
    );
    let count = EXPORTS as usize * 2;
    until_events(&server, State::Delivered, count).await;
    server.stop().await;
    let mails = mailpit.mails_to(TO).await;
    assert_eq!(mails.len(), 2);

    let received = receiver.until(count).await;
    received.iter().for_each(Received::verify_signature);
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for received in &received {
        kinds.entry(received.export()).or_default().push(received.kind());
    }
    assert_eq!(kinds.len(), EXPORTS as usize);
    assert!(kinds.values().all(|kinds| *kinds == ["fell_back", "synced"]), "{kinds:?}");
    for mail in &mails {
        let mail_id = mail["ID"].as_str().unwrap();
        eprintln!("{}", mailpit.raw(&format!("/api/v1/message/{mail_id}/raw")).await);
    }
    eprintln!("{:#?}\n{}", received[0].headers, String::from_utf8_lossy(&received[0].body));
}
