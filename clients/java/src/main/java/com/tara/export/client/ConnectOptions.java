package com.tara.export.client;

import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannelBuilder;
import io.grpc.TlsChannelCredentials;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Token, certificates and policy of a client. Each method changes this object and returns it.
 *
 * <p>Certificates and keys are PEM. A key is not encrypted and in the format PKCS #8 ({@code BEGIN
 * PRIVATE KEY}).
 */
public final class ConnectOptions {
  private static final String TOKEN_VARIABLE = "TARA_EXPORT_TOKEN";
  private static final String TOKEN_FILE_VARIABLE = "TARA_EXPORT_TOKEN_FILE";

  private Policy policy = Policy.DEFAULT;
  private Consumer<ManagedChannelBuilder<?>> changes = builder -> {};
  private Tokens tokens;
  private boolean allowsInsecureToken;
  private boolean isTls;
  private byte[] authorities;
  private byte[] certificates;
  private byte[] key;

  /** Sets timeouts and retries. */
  public ConnectOptions policy(Policy policy) {
    this.policy = policy;
    return this;
  }

  /** Changes the channel, for example adds interceptors. */
  public ConnectOptions channel(Consumer<ManagedChannelBuilder<?>> changes) {
    this.changes = changes;
    return this;
  }

  /**
   * Sends a bearer token with every call.
   *
   * @throws IllegalArgumentException if the text cannot be sent; it does not contain the token
   */
  public ConnectOptions token(String token) {
    tokens = Tokens.fixed(token);
    return this;
  }

  /** Requests a bearer token for every call, for tokens that expire. */
  public ConnectOptions tokenSource(TokenSource source) {
    tokens = Tokens.of(source);
    return this;
  }

  /**
   * Reads a bearer token from a file for every call, so that a renewed one is used. The file has at
   * most 16 KiB.
   */
  public ConnectOptions tokenFile(Path file) {
    tokens = Tokens.file(file);
    return this;
  }

  /**
   * Sends the token without TLS to other machines, where another layer encrypts, such as the
   * sidecar of a service mesh. Without one, everyone on the network can read the token.
   */
  public ConnectOptions allowInsecureToken() {
    allowsInsecureToken = true;
    return this;
  }

  /** Uses TLS, also if the address is not an {@code https://} URL, such as {@code dns:///}. */
  public ConnectOptions tls() {
    isTls = true;
    return this;
  }

  /**
   * Trusts only the authorities of these certificates instead of the platform's.
   *
   * @throws TaraExportException if the file cannot be read
   */
  public ConnectOptions certificateAuthorities(Path file) {
    return certificateAuthorities(read(file));
  }

  /** Trusts only the authorities of these certificates instead of the platform's. */
  public ConnectOptions certificateAuthorities(byte[] pem) {
    authorities = pem.clone();
    return this;
  }

  /**
   * Authenticates with a certificate, followed by its intermediate certificates, and its key
   * (mutual TLS).
   *
   * @throws TaraExportException if a file cannot be read
   */
  public ConnectOptions clientCertificate(Path certificates, Path key) {
    return clientCertificate(read(certificates), read(key));
  }

  /**
   * Authenticates with a certificate, followed by its intermediate certificates, and its key
   * (mutual TLS).
   */
  public ConnectOptions clientCertificate(byte[] certificates, byte[] key) {
    this.certificates = certificates.clone();
    this.key = key.clone();
    return this;
  }

  /**
   * Reads the token and the certificates from the variables of the tara-export commands, as far as
   * they are set: {@code TARA_EXPORT_TOKEN} or {@code TARA_EXPORT_TOKEN_FILE}, {@code
   * TARA_EXPORT_TLS_CA_FILE}, {@code TARA_EXPORT_TLS_CLIENT_CERT_FILE} and {@code
   * TARA_EXPORT_TLS_CLIENT_KEY_FILE}, {@code TARA_EXPORT_ALLOW_INSECURE_TOKEN}. The file takes
   * precedence over the token.
   *
   * @throws IllegalArgumentException if only one variable of the client certificate is set
   * @throws TaraExportException if a file cannot be read
   */
  public ConnectOptions fromEnvironment() {
    return from(System.getenv());
  }

  ConnectOptions from(Map<String, String> environment) {
    String token = environment.getOrDefault(TOKEN_VARIABLE, "").strip();
    String tokenFile = environment.getOrDefault(TOKEN_FILE_VARIABLE, "");
    if (!tokenFile.isEmpty()) {
      tokenFile(Path.of(tokenFile));
    } else if (!token.isEmpty()) {
      token(token);
    }
    String authorityFile = environment.getOrDefault("TARA_EXPORT_TLS_CA_FILE", "");
    if (!authorityFile.isEmpty()) {
      certificateAuthorities(Path.of(authorityFile));
    }
    String certificate = environment.getOrDefault("TARA_EXPORT_TLS_CLIENT_CERT_FILE", "");
    String keyFile = environment.getOrDefault("TARA_EXPORT_TLS_CLIENT_KEY_FILE", "");
    if (certificate.isEmpty() != keyFile.isEmpty()) {
      throw new IllegalArgumentException(
          "set both TARA_EXPORT_TLS_CLIENT_CERT_FILE and TARA_EXPORT_TLS_CLIENT_KEY_FILE");
    }
    if (!certificate.isEmpty()) {
      clientCertificate(Path.of(certificate), Path.of(keyFile));
    }
    if (environment.getOrDefault("TARA_EXPORT_ALLOW_INSECURE_TOKEN", "").equalsIgnoreCase("true")) {
      allowInsecureToken();
    }
    return this;
  }

  private static byte[] read(Path file) {
    try {
      return Files.readAllBytes(file);
    } catch (IOException unreadable) {
      throw TaraExportException.file(unreadable);
    }
  }

  Policy policy() {
    return policy;
  }

  Consumer<ManagedChannelBuilder<?>> changes() {
    return changes;
  }

  Tokens tokens() {
    return tokens;
  }

  /** Returns the credentials of the channel to this address. */
  ChannelCredentials credentials(ServerAddress address) {
    boolean hasCertificates = authorities != null || certificates != null;
    if (address.isPlain() && (hasCertificates || isTls)) {
      throw new IllegalArgumentException("certificates and TLS require an https:// URL");
    }
    boolean usesTls = address.isTls() || hasCertificates || isTls;
    if (!usesTls && tokens != null && !address.isLocal() && !allowsInsecureToken) {
      throw new IllegalArgumentException(
          "a token requires TLS, because everyone on the network could read it: use an https:// URL, or allow it with allowInsecureToken()");
    }
    if (!usesTls) {
      return InsecureChannelCredentials.create();
    }
    TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
    try {
      if (authorities != null) {
        tls.trustManager(new ByteArrayInputStream(authorities));
      }
      if (certificates != null) {
        tls.keyManager(new ByteArrayInputStream(certificates), new ByteArrayInputStream(key));
      }
    } catch (IOException unreadable) {
      throw new IllegalArgumentException("cannot use the certificates", unreadable);
    }
    return tls.build();
  }

  /** Without the token and the key. */
  @Override
  public String toString() {
    return "ConnectOptions";
  }
}
