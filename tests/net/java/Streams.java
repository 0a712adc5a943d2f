import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;

/** Four streams at once, line by line as they come, over the client's own pool of connections; then again on what is idle. */
public class Streams {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int round = 0; round < 2; round++) {
            List<CompletableFuture<String>> answers = new ArrayList<>();
            for (int number = 0; number < 4; number++) {
                String body = "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"" + round + number + "\"}]}";
                HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
                    .header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString(body)).build();
                answers.add(client.sendAsync(request, HttpResponse.BodyHandlers.ofLines())
                    .thenApply(response -> response.statusCode() + " " + response.body().collect(Collectors.joining("|"))));
            }
            for (CompletableFuture<String> answer : answers) {
                System.out.println(answer.get());
            }
        }
    }
}
