# Python's http.client: a thousand events, one by one, by one connection.
import http.client
import json
import sys
import urllib.parse

url = urllib.parse.urlsplit(sys.argv[1])
connection = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
connection.connect()
socket = connection.sock
for number in range(1000):
    connection.request("POST", url.path, json.dumps({"number": number}), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    assert answer.status == 202 and json.loads(said)["accepted"] == 1, (answer.status, said)
    assert connection.sock is socket, "the connection was closed"
