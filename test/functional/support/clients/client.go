// A session with crypto/tls: arguments are host, port, "implicit" or "starttls", the groups in
// order, and perhaps the files of a certificate and its key.
package main

import (
	"crypto/tls"
	"log"
	"net"
	"net/smtp"
	"os"
	"strings"
)

var groups = map[string]tls.CurveID{
	"X25519": tls.X25519, "P-256": tls.CurveP256, "P-384": tls.CurveP384, "P-521": tls.CurveP521,
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	host, port, kind := os.Args[1], os.Args[2], os.Args[3]
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	if os.Args[4] != "" {
		for _, name := range strings.Split(os.Args[4], ":") {
			config.CurvePreferences = append(config.CurvePreferences, groups[name])
		}
	}
	if len(os.Args) > 5 {
		pair, err := tls.LoadX509KeyPair(os.Args[5], os.Args[6])
		check(err)
		config.Certificates = []tls.Certificate{pair}
	}
	connection, err := net.Dial("tcp", net.JoinHostPort(host, port))
	check(err)
	if kind == "implicit" {
		connection = tls.Client(connection, config)
	}
	client, err := smtp.NewClient(connection, host)
	check(err)
	check(client.Hello("client.example"))
	if kind == "starttls" {
		check(client.StartTLS(config))
	}
	check(client.Noop())
	check(client.Quit())
}
