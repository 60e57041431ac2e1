//! Server reflection, as clients with a user interface use it.

use prost_reflect::DescriptorPool;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use crate::harness::{Host, TestServer, endpoint, within};

/// One test of both versions, which have the same messages in two packages.
macro_rules! both_versions {
    ($version:ident) => {
        mod $version {
            use prost::Message as _;
            use tokio::sync::mpsc;
            use tokio_stream::wrappers::UnboundedReceiverStream;
            use tonic::{Code, Status, Streaming};
            use tonic_reflection::pb::$version::{
                ErrorResponse, ExtensionRequest, ServerReflectionRequest, ServerReflectionResponse,
                server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };

            use super::*;

            /// A stream whose requests wait for the previous response.
            struct Stream {
                requests: mpsc::UnboundedSender<ServerReflectionRequest>,
                responses: Streaming<ServerReflectionResponse>,
            }

            impl Stream {
                async fn open(server: &TestServer) -> Self {
                    let channel = endpoint(server.address).connect().await.unwrap();
                    let (requests, receiver) = mpsc::unbounded_channel();
                    let receiver = UnboundedReceiverStream::new(receiver);
                    let mut client = ServerReflectionClient::new(channel);
                    let responses = client.server_reflection_info(receiver);
                    let responses = within("the stream", responses).await.unwrap().into_inner();
                    Self { requests, responses }
                }

                async fn try_ask(
                    &mut self,
                    request: Option<MessageRequest>,
                ) -> Result<MessageResponse, Status> {
                    let host = "a host".to_owned();
                    let request = ServerReflectionRequest { host, message_request: request };
                    self.requests.send(request.clone()).unwrap();
                    let response = within("a response", self.responses.message()).await?.unwrap();
                    assert_eq!(response.valid_host, "a host");
                    assert_eq!(response.original_request, Some(request));
                    Ok(response.message_response.unwrap())
                }

                async fn ask(&mut self, request: MessageRequest) -> MessageResponse {
                    self.try_ask(Some(request)).await.unwrap()
                }

                async fn files(&mut self, request: MessageRequest) -> Vec<FileDescriptorProto> {
                    let MessageResponse::FileDescriptorResponse(files) = self.ask(request).await
                    else {
                        panic!("no files")
                    };
                    let decode = |file: &Vec<u8>| FileDescriptorProto::decode(&file[..]).unwrap();
                    files.file_descriptor_proto.iter().map(decode).collect()
                }

                async fn error(&mut self, request: MessageRequest) -> ErrorResponse {
                    match self.ask(request).await {
                        MessageResponse::ErrorResponse(error) => error,
                        other => panic!("no error: {other:?}"),
                    }
                }
            }

            #[tokio::test]
            async fn one_answer_per_service_resolves_all_of_its_types() {
                let host = Host::new();
                let server = host.start().await;
                let list = MessageRequest::ListServices(String::new());
                let MessageResponse::ListServicesResponse(services) =
                    Stream::open(&server).await.ask(list).await
                else {
                    panic!("no services")
                };
                let services: Vec<String> =
                    services.service.into_iter().map(|service| service.name).collect();
                assert_eq!(services, SERVICES);
                for service in services {
                    let symbol = MessageRequest::FileContainingSymbol(service.clone());
                    let file = Stream::open(&server).await.files(symbol).await;
                    // Fails if an import is missing.
                    let set = FileDescriptorSet { file };
                    let pool = DescriptorPool::from_file_descriptor_set(set).unwrap();
                    let service = pool.get_service_by_name(&service).unwrap();
                    assert!(service.methods().all(|method| method.input().fields().len() < 100));
                }
            }

            #[tokio::test]
            async fn stream_sends_each_import_once() {
                let host = Host::new();
                let server = host.start().await;
                let mut stream = Stream::open(&server).await;
                let symbol = |name: &str| MessageRequest::FileContainingSymbol(name.to_owned());
                let mut all = Vec::new();
                for name in [
                    "tara.export.v1.ExportService",
                    "tara.export.v1.ExportService.StartExport",
                    "tara.export.v1.StartExportRequest.request_id",
                    "google.rpc.BadRequest.FieldViolation",
                    "grpc.health.v1.HealthCheckResponse.ServingStatus",
                ] {
                    let files = stream.files(symbol(name)).await;
                    let package = files[0].package().to_owned();
                    assert!(name.starts_with(&package), "{name} is not in {package}");
                    all.extend(files.into_iter().skip(1).map(|file| file.name().to_owned()));
                }
                let sent = all.len();
                all.sort();
                all.dedup();
                assert!(all.len() > 5 && all.len() == sent, "{all:?}");
                let by_name = MessageRequest::FileByFilename("google/protobuf/struct.proto".into());
                let files = stream.files(by_name).await;
                assert_eq!(files.len(), 1);
                assert_eq!(files[0].name(), "google/protobuf/struct.proto");
            }

            #[tokio::test]
            async fn unknown_name_is_an_error_after_which_the_stream_continues() {
                let host = Host::new();
                let server = host.start().await;
                let mut stream = Stream::open(&server).await;
                let name = "x".repeat(60_000);
                let extension = ExtensionRequest {
                    containing_type: "tara.export.v1.Export".to_owned(),
                    extension_number: 1000,
                };
                for request in [
                    MessageRequest::FileByFilename("no/such.proto".to_owned()),
                    MessageRequest::FileContainingSymbol("tara.export.v1.NoSuch".to_owned()),
                    MessageRequest::FileContainingSymbol(name),
                    MessageRequest::FileContainingExtension(extension),
                    MessageRequest::AllExtensionNumbersOfType("no.Such".to_owned()),
                ] {
                    let error = stream.error(request).await;
                    assert_eq!(error.error_code, Code::NotFound as i32);
                    assert!((1..300).contains(&error.error_message.len()), "{error:?}");
                }
                let MessageResponse::ErrorResponse(error) = stream.try_ask(None).await.unwrap()
                else {
                    panic!("no error")
                };
                assert_eq!(error.error_code, Code::InvalidArgument as i32);
                let numbers =
                    MessageRequest::AllExtensionNumbersOfType("tara.export.v1.Export".into());
                let MessageResponse::AllExtensionNumbersResponse(numbers) =
                    stream.ask(numbers).await
                else {
                    panic!("no numbers")
                };
                assert_eq!(numbers.base_type_name, "tara.export.v1.Export");
                assert_eq!(numbers.extension_number, [0; 0]);
            }

            #[tokio::test]
            async fn too_large_request_ends_the_stream_with_a_status() {
                let host = Host::new();
                let server = host.start().await;
                let mut stream = Stream::open(&server).await;
                let symbol = MessageRequest::FileContainingSymbol("x".repeat(70_000));
                let status = stream.try_ask(Some(symbol)).await.unwrap_err();
                crate::statuses::expect_status(
                    &status,
                    Code::ResourceExhausted,
                    "REQUEST_TOO_LARGE",
                );
            }

            #[tokio::test]
            async fn stream_ends_after_its_most_requests() {
                let host = Host::new();
                let server = host.start().await;
                let mut stream = Stream::open(&server).await;
                for _ in 0..10_000 {
                    let unknown = MessageRequest::FileByFilename(String::new());
                    stream.try_ask(Some(unknown)).await.unwrap();
                }
                let list = MessageRequest::ListServices(String::new());
                let status = stream.try_ask(Some(list)).await.unwrap_err();
                crate::statuses::expect_status(&status, Code::Unavailable, "STREAM_ENDED_EARLY");
            }
        }
    };
}

const SERVICES: [&str; 5] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "tara.export.v1.AutomationService",
    "tara.export.v1.ExportService",
];

both_versions!(v1);
both_versions!(v1alpha);
