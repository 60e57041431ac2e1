// A certificate authority of the tests, made with openssl.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Authority {
  private readonly folder = mkdtempSync(join(tmpdir(), "tara-export-authority-"));
  private readonly key = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

  constructor() {
    const usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"];
    const files = ["-keyout", this.file("ca.key"), "-out", this.file("ca.pem")];
    openssl("req", "-x509", ...this.key, "-subj", "/CN=test authority", "-days", "2", ...usage, ...files);
    this.issue("server", "IP:127.0.0.1,DNS:localhost");
    this.issue("other name", "DNS:other.example");
    this.issue("expired", "IP:127.0.0.1", "-1");
    this.issue("client", "DNS:client.example");
  }

  get ca(): string {
    return this.read("ca.pem");
  }

  /** The client's certificate and key. */
  get client(): { cert: string; key: string } {
    return { cert: this.read("client.pem"), key: this.read("client.key") };
  }

  /** The environment of a server with this certificate; with `isMutual`, callers need one too. */
  serverSettings(certificate = "server", isMutual = false): Record<string, string> {
    const settings = { TLS_CERT_FILE: this.file(`${certificate}.pem`), TLS_KEY_FILE: this.file(`${certificate}.key`) };
    return isMutual ? { ...settings, TLS_CLIENT_CA_FILE: this.file("ca.pem") } : settings;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }

  private file(name: string): string {
    return join(this.folder, name);
  }

  private read(name: string): string {
    return readFileSync(this.file(name), "utf8");
  }

  private issue(name: string, names: string, days = "2"): void {
    const [request, extensions] = [this.file(`${name}.csr`), this.file(`${name}.ext`)];
    openssl("req", ...this.key, "-subj", `/CN=${name}`, "-keyout", this.file(`${name}.key`), "-out", request);
    const usage = "keyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nauthorityKeyIdentifier=keyid\n";
    writeFileSync(extensions, `subjectAltName=${names}\nbasicConstraints=CA:FALSE\n${usage}`);
    const signer = [
      "-CA",
      this.file("ca.pem"),
      "-CAkey",
      this.file("ca.key"),
      "-set_serial",
      `0x${randomBytes(15).toString("hex")}`,
    ];
    const output = ["-extfile", extensions, "-days", days, "-out", this.file(`${name}.pem`)];
    openssl("x509", "-req", "-in", request, ...signer, ...output);
  }
}

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { stdio: "pipe" });
}
