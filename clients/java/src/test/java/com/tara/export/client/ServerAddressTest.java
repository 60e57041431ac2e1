package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ServerAddressTest {
  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource({
    "http://127.0.0.1:8080, dns:///127.0.0.1:8080",
    "127.0.0.1:8080, dns:///127.0.0.1:8080",
    "HTTP://export.example.com/, dns:///export.example.com:80",
    "https://export.example.com, dns:///export.example.com:443",
    "http://[::1]:8080, dns:///%5B::1%5D:8080",
    "http://export_server:8080, tara-export-host:///export_server:8080",
    "https://my_service.my_space.svc, tara-export-host:///my_service.my_space.svc:443",
    "dns:///export_server:8080, tara-export-host:///export_server:8080",
    "dns:///127.0.0.1:8080, dns:///127.0.0.1:8080",
    "unix:/run/tara.sock, unix:/run/tara.sock",
    "unix:///run/tara.sock, unix:/run/tara.sock",
    "xds:///service, xds:///service",
  })
  void addressesBecomeTargets(String address, String target) {
    assertEquals(target, ServerAddress.parse(address).target());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "http://",
        "http://:80",
        "http://x:0",
        "http://x:65536",
        "http://x:a",
        "http://x?a=b",
        "http://x#a",
        "http://x/path",
        "http://user@x",
        "http://a b",
        "http://[::1",
        "http://::1",
        "unix:",
        "unix://host/path",
        "dns:///",
        "://x",
        "http://a:b:c"
      })
  void invalidAddressesAreRejected(String address) {
    assertThrows(IllegalArgumentException.class, () -> ServerAddress.parse(address));
  }

  @Test
  void passwordsAreNotInErrors() {
    IllegalArgumentException failure =
        assertThrows(
            IllegalArgumentException.class,
            () -> ServerAddress.parse("http://user:hunter2@127.0.0.1:1"));
    assertFalse(failure.getMessage().contains("hunter2"), failure.getMessage());
  }

  @ParameterizedTest
  @CsvSource({
    "http://127.0.0.1:1, true",
    "http://127.9.9.9:1, true",
    "http://localhost:1, true",
    "http://a.localhost, true",
    "http://[::1]:1, true",
    "unix:/tmp/x, true",
    "https://export.example.com, true",
    "dns:///localhost:1, true",
    "http://export.example.com, false",
    "export.example.com:1, false",
    "http://10.0.0.7:1, false",
    "http://[::2]:1, false",
    "http://127.0.0.1.example.com, false",
    "dns:///export.example.com:1, false",
  })
  void tokensWithoutTlsAreOnlyForThisMachine(String address, boolean isAccepted) {
    ConnectOptions options = new ConnectOptions().token("abc");
    if (isAccepted) {
      TaraExportClient.connect(address, options).close();
    } else {
      IllegalArgumentException failure =
          assertThrows(
              IllegalArgumentException.class, () -> TaraExportClient.connect(address, options));
      assertTrue(failure.getMessage().contains("https://"), failure.getMessage());
    }
    TaraExportClient.connect(address, options.allowInsecureToken()).close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"", " \n", "secret b", "secret\nb", "secret\u00fc", "secret\u007f"})
  void tokensThatCannotBeSentAreRejected(String token) {
    IllegalArgumentException failure =
        assertThrows(IllegalArgumentException.class, () -> new ConnectOptions().token(token));
    assertFalse(failure.getMessage().contains("secret"), failure.getMessage());
    String large = "a".repeat(Tokens.MAX_BYTES + 1);
    assertThrows(IllegalArgumentException.class, () -> new ConnectOptions().token(large));
  }

  @Test
  void certificatesRequireTls() {
    ConnectOptions options = new ConnectOptions().certificateAuthorities(new byte[0]);
    assertThrows(
        IllegalArgumentException.class,
        () -> TaraExportClient.connect("http://127.0.0.1:1", options));
    assertThrows(
        IllegalArgumentException.class,
        () -> TaraExportClient.connect("http://127.0.0.1:1", new ConnectOptions().tls()));
  }

  @Test
  void environmentIsChecked() throws Exception {
    Path token = Files.writeString(folder.resolve("token"), "abc\n");
    ConnectOptions options =
        new ConnectOptions().from(Map.of("TARA_EXPORT_TOKEN_FILE", token.toString()));
    assertEquals("Bearer abc", options.tokens().request());
    Files.writeString(token, "renewed");
    assertEquals("Bearer renewed", options.tokens().request());
    Map<String, String> both =
        Map.of("TARA_EXPORT_TOKEN_FILE", token.toString(), "TARA_EXPORT_TOKEN", "abc");
    assertEquals("Bearer renewed", new ConnectOptions().from(both).tokens().request());
    Map<String, String> half = Map.of("TARA_EXPORT_TLS_CLIENT_CERT_FILE", token.toString());
    assertThrows(IllegalArgumentException.class, () -> new ConnectOptions().from(half));
    Map<String, String> missing = Map.of("TARA_EXPORT_TLS_CA_FILE", "/missing/ca.pem");
    TaraExportException failure =
        assertThrows(TaraExportException.class, () -> new ConnectOptions().from(missing));
    assertTrue(failure.getMessage().contains("/missing/ca.pem"), failure.getMessage());
    Files.writeString(token, "a".repeat(Tokens.MAX_BYTES + 1));
    assertThrows(TaraExportException.class, () -> options.tokens().request());
  }
}
