package com.tara.export.client;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;

/** A certificate authority that a test creates, with the JDK's keytool. */
final class Authority {
  private static final String PASSWORD = "changeit";

  private final Path folder;
  private int issued;

  /** Certificate and key as PEM files. */
  record Issued(Path certificate, Path key) {}

  Authority(Path folder) throws Exception {
    this.folder = Files.createDirectories(folder);
    keytool("-alias", "ca", "-dname", "CN=test authority", "-ext", "bc:c", "-validity", "2");
  }

  Path certificate() throws Exception {
    return write("ca.pem", "CERTIFICATE", store().getCertificate("ca").getEncoded());
  }

  /** Issues a certificate for this name; {@code localhost} is also for 127.0.0.1. */
  Issued issue(String name, boolean isExpired) throws Exception {
    String alias = "leaf" + ++issued;
    String names = "san=dns:" + name + (name.equals("localhost") ? ",ip:127.0.0.1" : "");
    keytool(
        "-alias",
        alias,
        "-dname",
        "CN=" + name,
        "-ext",
        names,
        "-signer",
        "ca",
        "-startdate",
        isExpired ? "-3d" : "-1H",
        "-validity",
        "1");
    KeyStore store = store();
    byte[] key = store.getKey(alias, PASSWORD.toCharArray()).getEncoded();
    return new Issued(
        write(alias + ".pem", "CERTIFICATE", store.getCertificate(alias).getEncoded()),
        write(alias + "-key.pem", "PRIVATE KEY", key));
  }

  private KeyStore store() throws GeneralSecurityException, IOException {
    return KeyStore.getInstance(folder.resolve("store").toFile(), PASSWORD.toCharArray());
  }

  private Path write(String name, String kind, byte[] der) throws IOException {
    String base64 = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(der);
    return Files.writeString(
        folder.resolve(name),
        "-----BEGIN %s-----\n%s\n-----END %s-----\n".formatted(kind, base64, kind));
  }

  private void keytool(String... arguments) throws Exception {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "keytool").toString());
    command.addAll(List.of("-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1"));
    command.addAll(List.of("-storetype", "PKCS12", "-storepass", PASSWORD));
    command.addAll(List.of("-keystore", folder.resolve("store").toString()));
    command.addAll(List.of(arguments));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    byte[] output = process.getInputStream().readAllBytes();
    if (process.waitFor() != 0) {
      throw new IOException(new String(output, StandardCharsets.UTF_8));
    }
  }
}
