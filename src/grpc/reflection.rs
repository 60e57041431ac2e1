//! Server reflection (gRPC, "GRPC Server Reflection Protocol"), in both versions.
//!
//! As the servers of grpc-java and grpc-go, and unlike tonic-reflection, a response has a file and everything that it
//! imports, except what its stream has already sent, and an unknown name is an error in the response, after which the
//! stream continues. Clients with a user interface rely on both.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};
use tara_export_limits::CallerKey;
use tonic::{Code, Request, Response, Status};

use super::{
    caller,
    download::ResponseStream,
    readers::{ReadPermit, Readers},
    response_memory::response_under,
    status::stream_ended_early,
};

/// Requests in one stream. A client that resolves every symbol of this API sends a few hundred.
const REQUESTS_LIMIT: usize = 10_000;
/// How many characters of an unknown name are in the error.
const NAME_CHARS: usize = 200;

/// A set of descriptors is not valid.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorError {
    /// The bytes are not a set of descriptors.
    #[error(transparent)]
    Undecodable(#[from] prost::DecodeError),
    /// A file is not in any set.
    #[error("{importing} imports {missing}, which has no descriptor")]
    ImportMissing {
        /// The importing file.
        importing: String,
        /// The missing file.
        missing: String,
    },
}

/// A set of descriptors whose files are not decoded, so that no option is lost.
#[derive(Clone, PartialEq, prost::Message)]
struct EncodedSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    files: Vec<Bytes>,
}

/// The descriptors of all services.
#[derive(Debug, Default)]
struct Descriptors {
    /// By name.
    files: HashMap<String, File>,
    /// The file of each symbol: messages, fields, oneofs, enums and their values, extensions, services and methods.
    symbols: HashMap<String, String>,
    /// The file of each extension, by the extended message and the extension's number.
    extensions: BTreeMap<(String, i32), String>,
    /// The names of messages, which can have extensions.
    messages: HashSet<String>,
    /// In alphabetical order.
    services: Vec<String>,
    /// The size of all files.
    size_bytes: usize,
}

#[derive(Debug)]
struct File {
    encoded: Bytes,
    imports: Vec<String>,
}

impl Descriptors {
    /// Reads these sets. Each file may be in several sets.
    fn new(sets: &[&'static [u8]]) -> Result<Self, DescriptorError> {
        let mut descriptors = Self::default();
        for set in sets {
            for encoded in EncodedSet::decode(*set)?.files {
                descriptors.add(&FileDescriptorProto::decode(&*encoded)?, encoded);
            }
        }
        descriptors.services.sort();
        for (importing, file) in &descriptors.files {
            let missing = file.imports.iter().find(|name| !descriptors.files.contains_key(*name));
            if let Some(missing) = missing {
                let (importing, missing) = (importing.clone(), missing.clone());
                return Err(DescriptorError::ImportMissing { importing, missing });
            }
        }
        Ok(descriptors)
    }

    fn add(&mut self, file: &FileDescriptorProto, encoded: Bytes) {
        let name = file.name();
        if self.files.contains_key(name) {
            return;
        }
        self.size_bytes += encoded.len();
        let imports = file.dependency.clone();
        self.files.insert(name.to_owned(), File { encoded, imports });
        let package = file.package();
        for message in &file.message_type {
            self.add_message(name, package, message);
        }
        for kind in &file.enum_type {
            self.add_enum(name, package, kind);
        }
        for extension in &file.extension {
            self.add_extension(name, package, extension);
        }
        for service in &file.service {
            let service_name = self.add_symbol(name, package, service.name());
            for method in &service.method {
                self.add_symbol(name, &service_name, method.name());
            }
            self.services.push(service_name);
        }
    }

    fn add_symbol(&mut self, file: &str, scope: &str, name: &str) -> String {
        let symbol = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
        self.symbols.insert(symbol.clone(), file.to_owned());
        symbol
    }

    fn add_message(&mut self, file: &str, scope: &str, message: &DescriptorProto) {
        let name = self.add_symbol(file, scope, message.name());
        for field in &message.field {
            self.add_symbol(file, &name, field.name());
        }
        for oneof in &message.oneof_decl {
            self.add_symbol(file, &name, oneof.name());
        }
        for nested in &message.nested_type {
            self.add_message(file, &name, nested);
        }
        for kind in &message.enum_type {
            self.add_enum(file, &name, kind);
        }
        for extension in &message.extension {
            self.add_extension(file, &name, extension);
        }
        self.messages.insert(name);
    }

    /// Values belong to the scope of their enum, as in C++. Some clients look for them below the enum.
    fn add_enum(&mut self, file: &str, scope: &str, kind: &EnumDescriptorProto) {
        let name = self.add_symbol(file, scope, kind.name());
        for value in &kind.value {
            self.add_symbol(file, scope, value.name());
            self.add_symbol(file, &name, value.name());
        }
    }

    fn add_extension(&mut self, file: &str, scope: &str, extension: &FieldDescriptorProto) {
        self.add_symbol(file, scope, extension.name());
        let extended = extension.extendee().trim_start_matches('.').to_owned();
        self.extensions.insert((extended, extension.number()), file.to_owned());
    }

    /// A file and everything that it imports, directly or not, without files that were sent before. The requested file
    /// is always included.
    fn with_imports(&self, name: &str, sent: &mut HashSet<String>) -> Option<Vec<Vec<u8>>> {
        let requested = self.files.get_key_value(name)?;
        let mut encoded = vec![requested.1.encoded.to_vec()];
        sent.insert(name.to_owned());
        let mut visited = HashSet::from([requested.0]);
        let mut remaining: Vec<&String> = requested.1.imports.iter().collect();
        while let Some(import) = remaining.pop() {
            let Some(file) = self.files.get(import).filter(|_| visited.insert(import)) else {
                continue;
            };
            if sent.insert(import.clone()) {
                encoded.push(file.encoded.to_vec());
            }
            remaining.extend(&file.imports);
        }
        Some(encoded)
    }

    fn response(&self, asked: &Asked, sent: &mut HashSet<String>) -> Answer {
        let files = |name: Option<&String>, sent| {
            name.and_then(|name| self.with_imports(name, sent)).map(Answer::Files)
        };
        let answer = match asked {
            Asked::File(name) => files(Some(name), sent),
            Asked::Symbol(name) => files(self.symbols.get(name), sent),
            Asked::Extension(message, number) => {
                files(self.extensions.get(&(message.clone(), *number)), sent)
            }
            Asked::ExtensionNumbers(message) => self.messages.contains(message).then(|| {
                let numbers = (message.clone(), i32::MIN)..=(message.clone(), i32::MAX);
                let numbers = self.extensions.range(numbers).map(|((_, number), _)| *number);
                Answer::ExtensionNumbers(message.clone(), numbers.collect())
            }),
            Asked::Services => Some(Answer::Services(self.services.clone())),
            Asked::Nothing => {
                let message = "the request has no message_request that this server knows";
                return Answer::Error(Code::InvalidArgument, message.to_owned());
            }
        };
        answer.unwrap_or_else(|| Answer::Error(Code::NotFound, asked.not_found()))
    }
}

/// What a request asks for, in either version.
enum Asked {
    File(String),
    Symbol(String),
    Extension(String, i32),
    ExtensionNumbers(String),
    Services,
    Nothing,
}

impl Asked {
    fn not_found(&self) -> String {
        let short = |name: &str| name.chars().take(NAME_CHARS).collect::<String>();
        match self {
            Self::File(name) => format!("this server has no file {}", short(name)),
            Self::Symbol(name) => format!("this server has no symbol {}", short(name)),
            Self::Extension(name, number) => {
                format!("this server has no extension {number} of {}", short(name))
            }
            Self::ExtensionNumbers(name) => format!("this server has no message {}", short(name)),
            Self::Services | Self::Nothing => String::new(),
        }
    }
}

/// A response in either version.
enum Answer {
    Files(Vec<Vec<u8>>),
    ExtensionNumbers(String, Vec<i32>),
    Services(Vec<String>),
    Error(Code, String),
}

/// The reflection service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reflection {
    descriptors: Arc<Descriptors>,
    readers: Readers,
}

impl Reflection {
    /// Describes the files of these encoded sets of descriptors. Responses reserve memory of these readers.
    ///
    /// # Errors
    /// If a set cannot be decoded, or lacks an imported file.
    pub fn new(sets: &[&'static [u8]], readers: Readers) -> Result<Self, DescriptorError> {
        Ok(Self { descriptors: Arc::new(Descriptors::new(sets)?), readers })
    }

    /// Reserves memory for the largest response and its encoding.
    async fn reserve(&self, caller: &CallerKey) -> Result<ReadPermit, Status> {
        let size_bytes = 2 * self.descriptors.size_bytes as u64;
        Ok(self.readers.reserve_response(caller, size_bytes).await?)
    }
}

/// Implements a version of the service. Both have the same messages in two packages.
macro_rules! serve {
    ($version:ident) => {
        mod $version {
            use futures::StreamExt as _;
            use tonic::Streaming;
            use tonic_reflection::pb::$version::{
                ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
                ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
                server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse, server_reflection_server::ServerReflection,
            };

            use super::*;

            impl From<&ServerReflectionRequest> for Asked {
                fn from(request: &ServerReflectionRequest) -> Self {
                    match &request.message_request {
                        Some(MessageRequest::FileByFilename(name)) => Self::File(name.clone()),
                        Some(MessageRequest::FileContainingSymbol(name)) => {
                            Self::Symbol(name.clone())
                        }
                        Some(MessageRequest::FileContainingExtension(extension)) => {
                            let message = extension.containing_type.clone();
                            Self::Extension(message, extension.extension_number)
                        }
                        Some(MessageRequest::AllExtensionNumbersOfType(name)) => {
                            Self::ExtensionNumbers(name.clone())
                        }
                        Some(MessageRequest::ListServices(_)) => Self::Services,
                        None => Self::Nothing,
                    }
                }
            }

            impl From<Answer> for MessageResponse {
                fn from(answer: Answer) -> Self {
                    match answer {
                        Answer::Files(file_descriptor_proto) => Self::FileDescriptorResponse(
                            FileDescriptorResponse { file_descriptor_proto },
                        ),
                        Answer::ExtensionNumbers(base_type_name, extension_number) => {
                            Self::AllExtensionNumbersResponse(ExtensionNumberResponse {
                                base_type_name,
                                extension_number,
                            })
                        }
                        Answer::Services(names) => {
                            let service = |name| ServiceResponse { name };
                            Self::ListServicesResponse(ListServiceResponse {
                                service: names.into_iter().map(service).collect(),
                            })
                        }
                        Answer::Error(code, error_message) => Self::ErrorResponse(ErrorResponse {
                            error_code: code as i32,
                            error_message,
                        }),
                    }
                }
            }

            #[tonic::async_trait]
            impl ServerReflection for Reflection {
                type ServerReflectionInfoStream = ResponseStream<ServerReflectionResponse>;

                async fn server_reflection_info(
                    &self,
                    request: Request<Streaming<ServerReflectionRequest>>,
                ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
                    let permit = self.reserve(&caller::key(request.extensions())).await?;
                    let descriptors = self.descriptors.clone();
                    let mut sent = HashSet::new();
                    // A request is read when the response to the previous one was sent.
                    let responses = request.into_inner().enumerate().map(move |(number, request)| {
                        let request = request?;
                        if number >= REQUESTS_LIMIT {
                            return Err(stream_ended_early(&format!(
                                "a reflection stream has at most {REQUESTS_LIMIT} requests: open another one"
                            )));
                        }
                        let answer = descriptors.response(&Asked::from(&request), &mut sent);
                        Ok(ServerReflectionResponse {
                            valid_host: request.host.clone(),
                            original_request: Some(request),
                            message_response: Some(answer.into()),
                        })
                    });
                    Ok(response_under(permit, responses.boxed()))
                }
            }
        }
    };
}

serve!(v1);
serve!(v1alpha);

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Files with every kind of symbol, whose imports are a diamond.
    fn descriptors() -> Descriptors {
        let file = |name: &str, imports: &[&str]| FileDescriptorProto {
            name: Some(name.to_owned()),
            package: Some("p".to_owned()),
            dependency: imports.iter().map(|&import| import.to_owned()).collect(),
            ..FileDescriptorProto::default()
        };
        let extension = |number| FieldDescriptorProto {
            name: Some(format!("extension{number}")),
            number: Some(number),
            extendee: Some(".p.Extended".to_owned()),
            ..FieldDescriptorProto::default()
        };
        let message = |name: &str| DescriptorProto {
            name: Some(name.to_owned()),
            ..DescriptorProto::default()
        };
        let mut top = file("top.proto", &["left.proto", "right.proto"]);
        top.message_type.push(DescriptorProto {
            nested_type: vec![DescriptorProto {
                extension: vec![extension(7)],
                ..message("Nested")
            }],
            ..message("Top")
        });
        top.extension.push(extension(3));
        let left = file("left.proto", &["bottom.proto"]);
        let right = file("right.proto", &["bottom.proto"]);
        let mut bottom = file("bottom.proto", &[]);
        bottom.message_type = vec![message("Extended"), message("ExtendedToo")];
        let set = FileDescriptorSet { file: vec![top, left, right, bottom] }.encode_to_vec();
        Descriptors::new(&[Box::leak(set.into_boxed_slice())]).unwrap()
    }

    fn names(answer: Answer) -> Vec<String> {
        let Answer::Files(files) = answer else { panic!("no files") };
        let mut names: Vec<String> = files
            .iter()
            .map(|file| FileDescriptorProto::decode(&file[..]).unwrap().name().to_owned())
            .collect();
        // The requested file is the first one.
        names[1..].sort();
        names
    }

    #[test]
    fn file_is_sent_with_its_imports_and_each_import_once() {
        let descriptors = descriptors();
        let mut sent = HashSet::new();
        let mut ask = |asked| names(descriptors.response(&asked, &mut sent));
        assert_eq!(ask(Asked::File("right.proto".to_owned())), ["right.proto", "bottom.proto"]);
        assert_eq!(ask(Asked::Symbol("p.Top.Nested".to_owned())), ["top.proto", "left.proto"]);
        // The requested file itself is never omitted.
        assert_eq!(ask(Asked::File("top.proto".to_owned())), ["top.proto"]);
        let mut sent = HashSet::new();
        let all = names(descriptors.response(&Asked::File("top.proto".to_owned()), &mut sent));
        assert_eq!(all, ["top.proto", "bottom.proto", "left.proto", "right.proto"]);
    }

    #[test]
    fn extensions_are_found_by_message_and_number() {
        let descriptors = descriptors();
        let answer = |asked| descriptors.response(&asked, &mut HashSet::new());
        for number in [3, 7] {
            let files = names(answer(Asked::Extension("p.Extended".to_owned(), number)));
            assert_eq!(files[0], "top.proto");
        }
        for (message, expected) in [("p.Extended", vec![3, 7]), ("p.ExtendedToo", vec![])] {
            let answer = answer(Asked::ExtensionNumbers(message.to_owned()));
            let Answer::ExtensionNumbers(name, numbers) = answer else { panic!("no numbers") };
            assert_eq!((name.as_str(), numbers), (message, expected));
        }
    }

    #[test]
    fn unknown_names_are_not_found() {
        let descriptors = descriptors();
        let long = "x".repeat(60_000);
        for asked in [
            Asked::File("other.proto".to_owned()),
            Asked::Symbol("p.Other".to_owned()),
            Asked::Symbol(String::new()),
            Asked::Symbol("p".to_owned()),
            Asked::Symbol(long),
            Asked::Extension("p.Extended".to_owned(), 4),
            Asked::ExtensionNumbers("p.Other".to_owned()),
        ] {
            let answer = descriptors.response(&asked, &mut HashSet::new());
            let Answer::Error(code, message) = answer else { panic!("no error") };
            assert_eq!(code, Code::NotFound);
            assert!(message.len() < 300, "{message}");
        }
    }

    #[test]
    fn missing_import_is_an_error() {
        let file = FileDescriptorProto {
            name: Some("a.proto".to_owned()),
            dependency: vec!["b.proto".to_owned()],
            ..FileDescriptorProto::default()
        };
        let set = FileDescriptorSet { file: vec![file] }.encode_to_vec();
        let error = Descriptors::new(&[Box::leak(set.into_boxed_slice())]).unwrap_err();
        assert_eq!(error.to_string(), "a.proto imports b.proto, which has no descriptor");
    }
}
